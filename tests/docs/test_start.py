"""docs/start.md and docs/export.md: their commands on a finished run."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.docs.conftest import Follow
from tests.docs.pages import run_by


@pytest.mark.slow
def test_the_pages_work(checkout: Path, finished_recipe: Path, follow: Follow) -> None:
    for name in ("data", "exp"):
        shutil.copytree(finished_recipe / name, checkout / name)
    said = follow(checkout, run_by(__file__, "docs/start.md"))
    assert "decision" in said and "EER" in said and "p " in said
    assert (checkout / "exp/minivox_imlkd/export/model.onnx").is_file() and (checkout / "voices.npz").is_file()
    assert list((checkout / "pictures").iterdir())
    (code,) = run_by(__file__, "docs/export.md", "python")
    names: dict[str, Any] = {"pieces": [0.1 * torch.randn(4000)] * 4}
    with contextlib.chdir(checkout):
        exec(code, names)
    assert names["embedding"].ndim == 1 and abs(float(np.linalg.norm(names["embedding"])) - 1.0) < 1e-4
