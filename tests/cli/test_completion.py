"""Shell completion: click's scripts, and what they ask of the command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(imlkd: Run, shell: str, tmp_path: Path) -> None:
    done = imlkd("completion", shell)
    assert done.returncode == 0 and "_IMLKD_COMPLETE" in done.stdout and f"{shell}_complete" in done.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_bash_completes_verbs_and_options() -> None:
    for words, expected in [("imlkd ver", "verify"), ("imlkd verify --oper", "--operating-point"),
                            ("imlkd store re", "remove")]:  # fmt: skip
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "_IMLKD_COMPLETE": "bash_complete", "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "imlkd.cli.main"], env=environment, capture_output=True, text=True, check=True
        )
        assert f"plain,{expected}" in done.stdout.split(), done.stderr


def test_another_shell_is_wrong_usage(imlkd: Run) -> None:
    done = imlkd("completion", "tcsh")
    assert done.returncode == 2 and "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr
