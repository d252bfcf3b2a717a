"""A copy of the repository to follow a page in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PARTS = (
    "run.sh", "path.sh", "cmd.sh", "local", "utils", "egs", "imlkd", "docs", "tests", "pyproject.toml",
    "requirements.txt", "requirements-dev.txt",
)  # fmt: skip
Follow = Callable[[Path, Sequence[str]], str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, without data and models."""
    root = tmp_path_factory.mktemp("checkout")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, root / name)
    return root


@pytest.fixture(scope="session")
def follow() -> Follow:
    """``follow(folder, blocks)``: the commands as one script, as typed there; what they printed."""

    def run(folder: Path, blocks: Sequence[str]) -> str:
        utils = folder / "utils" if (folder / "utils").is_dir() else ROOT / "utils"
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"IMLKD_PYTHON": sys.executable, "PATH": f"{utils}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(utils.parent)}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", "".join(blocks)], cwd=folder, env=environment, capture_output=True,
            text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
