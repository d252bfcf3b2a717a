"""The first start: `.venv` is made from the pins, finished when it is half made, and costs nothing afterwards.

The pins here are one small wheel, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipe.workspaces import Workspace, clean_environment, end_session

MAKE = "utils/make_venv.sh"
pytestmark = pytest.mark.skipif(shutil.which("python3.11") is None, reason="no python3.11 on PATH")


def wheel(folder: Path, version: str) -> Path:
    """A package ``tiny`` whose ``version`` says which one is installed."""
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def pin(workspace: Workspace, version: str) -> None:
    path = wheel(workspace.root, version)
    (workspace.root / "requirements.txt").write_text(f"# The pins.\ntiny @ {path.as_uri()}\n")


def installed(workspace: Workspace) -> str:
    result = workspace.call(".venv/bin/python", "-c", "import tiny; print(tiny.version)")
    assert result.status == 0, result.err
    return result.out.strip()


@pytest.fixture
def bare(code: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The recipe without an environment, its pins exchanged."""
    environment = clean_environment()
    del environment["IMLKD_PYTHON"]
    workspace = Workspace(Path(shutil.copytree(code.root, tmp_path / "my imlkd")), environment)
    pin(workspace, "1.0")
    yield workspace
    shutil.rmtree(workspace.root)


def test_made_once_finished_when_half_made_and_free_afterwards(bare: Workspace) -> None:
    both = [bare.start(MAKE), bare.start(MAKE)]  # two starts at once: one makes it, the other waits
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert installed(bare) == "1.0"

    start = time.monotonic()
    result = bare.call("bash", "-c", ". ./path.sh; echo $IMLKD_PYTHON")
    assert time.monotonic() - start < 0.5
    assert (result.status, result.out, result.err) == (0, f"{bare.root}/.venv/bin/python\n", "")

    (bare.root / ".venv/.complete-recipe").unlink()  # the installation was cut off
    next(bare.root.glob(".venv/lib/*/site-packages/tiny.py")).unlink()
    shutil.rmtree(next(bare.root.glob(".venv/lib/*/site-packages/tiny-1.0.dist-info")))
    assert bare.call(MAKE).status == 0
    assert installed(bare) == "1.0"

    pin(bare, "2.0")
    (bare.root / "tiny-2.0-py3-none-any.whl").rename(bare.root / "kept.whl")
    result = bare.call(MAKE)
    assert result.status == 1
    assert result.lines[-1].startswith("make_venv.sh: the packages could not be installed")
    assert "run the same command again to go on" in result.lines[-1]
    (bare.root / "kept.whl").rename(bare.root / "tiny-2.0-py3-none-any.whl")
    assert bare.call(MAKE).status == 0
    assert installed(bare) == "2.0"


def test_interrupted_it_is_made_again(bare: Workspace) -> None:
    process = bare.start("./run.sh")
    assert process.stderr is not None and process.stderr.readline().startswith("setting up ")
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert end_session(process.pid, grace=5.0) == []
    assert process.returncode == 130 and "Traceback" not in err
    assert err.splitlines()[-1] == "./run.sh: interrupted in the set-up: run the same command again to go on"
    assert not (bare.root / ".venv/.complete-recipe").exists()
    assert bare.call(MAKE).status == 0
    assert installed(bare) == "1.0"


@pytest.mark.slow
def test_without_its_python_it_is_made_again(bare: Workspace) -> None:
    assert bare.call(MAKE).status == 0
    (bare.root / ".venv/bin/python").unlink()
    result = bare.call(MAKE)
    assert result.status == 0 and result.lines[0].startswith("setting up ")
    assert installed(bare) == "1.0"


def test_no_python_that_fits(bare: Workspace, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "cat", "cksum", "dirname", "flock", "rm", "grep", "tail"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").write_text('#!/bin/bash\n[ "$1" = --version ] && echo Python 3.9.9\nexit 1\n')
    (tools / "python3").chmod(0o755)
    result = bare.call(MAKE, PATH=str(tools))
    assert result.status == 1
    assert "no Python 3.11 to 3.13 on PATH (found: Python 3.9.9): install python3.11" in result.lines[-1]
    assert not (bare.root / ".venv").exists()
