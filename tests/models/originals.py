"""Ask the originals of imported networks, in the environment that holds them, all in one process."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-oracle/bin/python"
SCRIPT = Path(__file__).with_name("original_models.py")


@dataclass(frozen=True)
class Case:
    """A network of ``original_models.py``, the package it is in, and what it is asked.

    :param asked: features (B, T, F), or a waveform (samples,) for a front-end.
    """

    package: str
    network: str
    settings: dict[str, Any]
    asked: torch.Tensor


def has(package: str) -> bool:
    """Whether tests/setup_oracle.sh has installed it."""
    found = list((ROOT / ".venv-oracle").glob(f"lib/python*/site-packages/{package}"))
    return (ROOT / ".venv-oracle/made_of").is_file() and bool(found)


def ask(cases: Mapping[str, Case], root: Path) -> None:
    """Leave the answer to each case whose package is there in ``root/NAME``."""
    folders = []
    for name, case in cases.items():
        if has(case.package):
            folder = root / name
            folder.mkdir()
            torch.save(case.asked, folder / ("waveform.pt" if case.asked.ndim == 1 else "features.pt"))
            (folder / "settings.json").write_text(json.dumps({"network": case.network, "settings": case.settings}))
            folders.append(folder)
    if folders:
        subprocess.run([PYTHON, "-W", "ignore", SCRIPT, *folders], check=True, timeout=300)
