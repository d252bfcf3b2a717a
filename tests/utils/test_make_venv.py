"""utils/make_venv.sh --check: which Python may run the recipe, and what is said of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_that_says(version: tuple[int, int], folder: Path) -> Path:
    """A Python whose version is another one, as far as ``-c`` code can see."""
    path = folder / "python"
    path.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.version_info = {(*version, 0, 'final', 0)}; "
        'exec(sys.argv[1])" "$2"\n'
    )
    path.chmod(0o755)
    return path


def check(python: Path | str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "utils/make_venv.sh", "--check", str(python)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})


def test_the_tested_version_is_taken_in_silence(tmp_path: Path) -> None:
    done = check(python_that_says((3, 11), tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("minor", [12, 13])
def test_another_version_is_taken_and_said(tmp_path: Path, minor: int) -> None:
    done = check(python_that_says((3, minor), tmp_path))
    assert done.returncode == 0
    assert done.stderr == f"make_venv.sh: {tmp_path}/python is Python 3.{minor}; 3.11 is the tested one\n"


@pytest.mark.parametrize("minor", [9, 10, 14])
def test_too_old_and_too_new_are_refused(tmp_path: Path, minor: int) -> None:
    done = check(python_that_says((3, minor), tmp_path))
    assert done.returncode == 1
    assert f"is Python 3.{minor}: 3.11 to 3.13 is needed" in done.stderr and done.stderr.count("\n") == 1


def test_no_python_at_all(tmp_path: Path) -> None:
    done = check(tmp_path / "gone")
    assert done.returncode == 1
    assert done.stderr.endswith("gone: not a Python that starts: set IMLKD_PYTHON to one, or unset it\n")
