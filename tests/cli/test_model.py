"""`imlkd model`: trainings that are preempted before their first step, and curves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from imlkd.cli.model import model

ROOT = Path(__file__).parents[2]
# The training that gets a signal while it reads its data.
READING = """
import os, signal, sys
import imlkd.done, imlkd.training.{module}
imlkd.done.DoneMarker.begun_inputs = lambda *a, **k: {{}}
imlkd.training.{module}.{function} = lambda *a: os.kill(os.getpid(), signal.{name})
from imlkd.cli.main import run
sys.argv = ["imlkd", "model", *sys.argv[1:]]
run()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("words", [["train-teacher", "d", "o"], ["distil", "none", "d", "t", "o"]])
def test_preempted_before_the_first_step(words: list[str], name: str, tmp_path: Path) -> None:
    module = "teacher" if words[0] == "train-teacher" else "student"
    code = READING.format(module=module, function=f"train_{module}", name=name)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert done.stderr == "imlkd: preempted: nothing to save yet: run the same command again\n"


def test_a_curve_is_shown_and_kept(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lines = [{"epoch": n, "seconds": 1.0, "loss": 4.0 / n, "learning_rate": 0.1} for n in (1, 2)]
    (tmp_path / "log/train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert CliRunner().invoke(model, ["curve", str(tmp_path)]).output == "1 loss 4\n2 loss 2\n"
    kept, picture = tmp_path / "conf/curves/kd.jsonl", tmp_path / "c.png"
    done = CliRunner().invoke(model, ["curve", str(tmp_path), "--keep", str(kept)])
    assert done.exit_code == 0 and '"seconds"' not in kept.read_text()
    done = CliRunner().invoke(model, ["curve", str(tmp_path), "--draw", str(picture), "--expected", str(kept)])
    assert done.exit_code == 0 and picture.stat().st_size > 5000
