"""local/install_resemblyzer.sh: nothing to do, and nothing that can be done."""

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install(python, *arguments):
    environment = os.environ | {"IMLKD_PYTHON": str(python), "PIP_NO_INDEX": "1"}
    command = ["local/install_resemblyzer.sh", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None,
    reason="Resemblyzer is not installed: run local/install_resemblyzer.sh",
)
def test_nothing_is_done_when_the_weights_are_there():
    done = install(sys.executable)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and "already installed: " in done.stdout
    assert done.stdout.strip().endswith("resemblyzer/pretrained.pt")


def test_failing_pip_ends_in_one_line(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare/bin/python"
    done = install(python)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"{python} -m pip could not install Resemblyzer==0.1.4: " in done.stderr
    assert "No module named pip" in done.stderr


def test_an_argument_is_refused():
    assert install(sys.executable, "now").returncode == 1
    assert "Usage: local/install_resemblyzer.sh" in install(sys.executable, "--help").stdout
