"""docs/start.md and docs/export.md: their commands on a finished run."""

import shutil
from pathlib import Path

from tests.docs.conftest import Follow
from tests.docs.pages import run_by


def test_the_pages_work(checkout: Path, finished_recipe: Path, follow: Follow) -> None:
    for name in ("data", "exp"):
        shutil.copytree(finished_recipe / name, checkout / name)
    said = follow(checkout, run_by(__file__, "docs/start.md"))
    assert "decision" in said and "EER" in said and "p " in said
    assert (checkout / "exp/minivox_imlkd/export/model.onnx").is_file() and (checkout / "voices.npz").is_file()
    assert list((checkout / "pictures").iterdir())
    namespace: dict[str, object] = {}
    for code in run_by(__file__, "docs/export.md", "python"):
        lines = code.replace("exp/minivox_imlkd", str(checkout / "exp/minivox_imlkd"))
        exec("import numpy\npieces = [numpy.random.default_rng(0).normal(size=4000).astype('f4')] * 4\n" + lines, namespace)
    assert getattr(namespace["embedding"], "ndim", 0) == 1
