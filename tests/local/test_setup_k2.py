"""local/setup_k2.sh, its pins exchanged for one small wheel: made once, repaired; what cannot be made is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "local/setup_k2.sh"
PYTHONS = [shutil.which("python3.9"), *map(str, (Path.home() / ".pyenv/versions").glob("3.9.*/bin/python"))]


def starts(python: str | None) -> bool:
    return python is not None and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


needs_39 = pytest.mark.skipif(not any(map(starts, PYTHONS)), reason="no Python 3.9: pyenv install 3.9")


def make_wheel(folder: Path, version: str) -> Path:
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def pin(root: Path, version: str) -> None:
    (root / "requirements-k2.txt").write_text(f"tiny @ {make_wheel(root, version).as_uri()}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose k2 is the package `tiny`."""
    folder = tmp_path / "my imlkd"
    (folder / "local").mkdir(parents=True)
    (folder / "imlkd/attribution/segmentation").mkdir(parents=True)
    shutil.copy(SETUP, folder / "local")
    for name in ("__init__.py", "attribution/__init__.py", "attribution/segmentation/__init__.py"):
        (folder / "imlkd" / name).write_text("")
    (folder / "imlkd/attribution/segmentation/k2_backend.py").write_text("import tiny\n")
    pin(folder, "1.0")
    return folder


def setup(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(root / "local/setup_k2.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def installed(root: Path) -> str:
    command = [str(root / ".venv-k2/bin/python"), "-c", "import sys, tiny; print(*sys.version_info[:2], tiny.version)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_39
def test_what_was_not_finished_is_gone_on_with(root: Path) -> None:
    """Pip fails, then k2 does not import: one line each, no mark of completeness. Then all is well, and stays so."""
    (root / "requirements-k2.txt").write_text("tiny @ file:///nowhere/tiny-1.0-py3-none-any.whl\n")
    done = setup(root)
    assert done.returncode == 1 and not (root / ".venv-k2/.complete").exists()
    assert "pip could not install requirements-k2.txt" in done.stderr.splitlines()[-1]

    pin(root, "1.0")
    backend = root / "imlkd/attribution/segmentation/k2_backend.py"
    backend.write_text("import k2_of_another_torch\n")
    done = setup(root)
    assert done.returncode == 1 and not (root / ".venv-k2/.complete").exists()
    assert done.stderr.count("\n") == 1 and "No module named 'k2_of_another_torch'" in done.stderr

    backend.write_text("import tiny\n")
    done = setup(root)
    assert done.returncode == 0 and done.stdout.endswith(".venv-k2 is ready\n"), done.stderr
    assert installed(root) == "3 9 1.0"
    assert setup(root).stdout.endswith(".venv-k2 is complete\n")


@needs_39
@pytest.mark.slow
def test_other_pins_and_a_python_that_is_gone(root: Path) -> None:
    assert setup(root).returncode == 0 and installed(root) == "3 9 1.0"
    pin(root, "2.0")
    assert setup(root).returncode == 0 and installed(root) == "3 9 2.0"
    (root / ".venv-k2/bin/python").unlink()
    assert setup(root).returncode == 0 and installed(root) == "3 9 2.0"


def test_without_a_python_39_it_says_so_with_a_status_of_its_own(root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "cat", "cksum", "dirname", "flock", "rm", "tail", "grep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    shim = "#!/bin/bash\necho 'pyenv: python3.9: command not found' >&2\nexit 127\n"
    (tools / "python3.9").write_text(shim)
    (tools / "python3.9").chmod(0o755)
    done = setup(root, PATH=str(tools), HOME=str(tmp_path), PYENV_ROOT=str(tmp_path))
    assert done.returncode == 77 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "no Python 3.9 on PATH or in pyenv" in done.stderr and "pyenv install 3.9" in done.stderr
    assert not (root / ".venv-k2").exists()


def test_a_named_python_of_another_version_is_a_failure(root: Path) -> None:
    done = setup(root, PYTHON39="/bin/false")
    assert done.returncode == 1
    assert done.stderr.endswith("PYTHON39=/bin/false: not a Python 3.9 that starts: mend or unset it\n")


def test_help_and_arguments(root: Path) -> None:
    assert setup(root, "--help").stdout.startswith("Usage: ")
    assert setup(root, "now").returncode == 1
