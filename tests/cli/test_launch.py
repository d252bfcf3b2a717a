"""`imlkd launch`: two processes train one model, save on SIGUSR1, leave with 75, and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.features.segments import SegmentsConfig
from imlkd.models.store import load_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.config import CheckpointsConfig, TrainingConfig
from imlkd.training.teacher import TeacherConfig

ROOT = Path(__file__).parents[2]
TRAINING = TrainingConfig(epochs=60, batch=4, threads=1, statistics="own", checkpoints=CheckpointsConfig(steps=1))
TEACHER = TeacherConfig(TdnnConfig(width=4, blocks=1, embedding_dim=4), TRAINING, SegmentsConfig(durations=[0.5, 1.0]))


def start(*arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "imlkd.cli.main", "launch", "--nproc", "2", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_two_processes_leave_on_request_and_go_on(toy_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "teacher"
    save_config(TEACHER, tmp_path / "teacher.yaml")
    DoneMarker(out / ".done").begin({"data": "1"})
    training = ("model", "train-teacher", toy_corpus, out, "--config", tmp_path / "teacher.yaml")
    process = start(*training)
    while not list(out.glob("checkpoints/0*.pt")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGUSR1)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert "imlkd: preempted: SIGUSR1: saved after step " in said and not (out / "final.pt").exists()
    again = start(*training)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert said.count("going on after ") == 1 and said.count("epoch 60/60 ") == 1
    assert load_model(out).head is not None


@pytest.mark.slow
def test_an_error_in_them_is_status_1(tmp_path: Path) -> None:
    process = start("model", "train-teacher", tmp_path / "gone", tmp_path / "out")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "imlkd: error: " in said
