"""`imlkd launch`: two processes train one model, save on SIGUSR1, leave with 75, and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from imlkd.cli.launch import FAILED, _spread, _status_of, launch
from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.segments import SegmentsConfig
from imlkd.models.store import load_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.config import CheckpointsConfig, TrainingConfig
from imlkd.training.nodes import Nodes, free_port
from imlkd.training.teacher import TeacherConfig

ROOT = Path(__file__).parents[2]
TRAINING = TrainingConfig(epochs=60, batch=4, threads=1, statistics="own", checkpoints=CheckpointsConfig(steps=1))
TEACHER = TeacherConfig(TdnnConfig(width=4, blocks=1, embedding_dim=4), TRAINING, SegmentsConfig(durations=[0.5, 1.0]))


def start(*arguments: object, processes: int = 2) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "imlkd.cli.main", "launch", "--nproc", str(processes), *map(str, arguments)]
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


def test_the_status_that_stands_for_all() -> None:
    assert _status_of({75}) == _status_of({75, -signal.SIGTERM}) == 75
    assert _status_of({1}) == _status_of({75, 1}) == _status_of({75, -signal.SIGKILL}) == _status_of({-15}) == 1


@pytest.mark.parametrize(
    ("status", "answers", "expected"),
    [(0, 1, 0), (75, 1, 75), (FAILED, 1, 1), (FAILED, 0, 75), (143, 1, 1), (143, 0, 75)],
)
def test_on_every_node_of_a_slurm_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, answers: int, expected: int
) -> None:
    """A stand-in for srun; tests/slurm.sh has the real one."""
    answer = "exit 0" if answers else "exit 1"
    script = f'#!/bin/sh\ncase "$*" in *" true") {answer};; esac\necho "$*" > {tmp_path}/asked\nexit {status}\n'
    for name, text in {"srun": script, "scontrol": "#!/bin/sh\necho NodeAddr=10.0.0.7\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        found = _spread(Nodes(2), ["--nproc", "1", "--ngpu", "0", "--nodes", "2"], ("model", "train-teacher", "a", "b"))
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert found == expected
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("--nodes 2 --ntasks 2 --ntasks-per-node 1 --overlap --wait 60 ")
    assert " launch --nproc 1 --ngpu 0 --nodes 2 --at 10.0.0.7:" in asked
    assert asked.endswith(" model train-teacher a b\n")


def test_more_gpus_than_there_are() -> None:
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        result = CliRunner().invoke(launch, ["--ngpu", "99", "model", "train-teacher", "a", "b"])
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("--ngpu 99: torch can use ")


@pytest.mark.slow
def test_two_machines_without_slurm(toy_corpus: Path, tmp_path: Path) -> None:
    """Both are this one: what is typed on each is the same but for its number."""
    out = tmp_path / "teacher"
    save_config(replace(TEACHER, training=replace(TRAINING, epochs=2)), tmp_path / "teacher.yaml")
    DoneMarker(out / ".done").begin({"data": "1"})
    training = ("model", "train-teacher", toy_corpus, out, "--config", tmp_path / "teacher.yaml")
    place = f"127.0.0.1:{free_port()}"
    machines = [start("--nodes", 2, "--rank", rank, "--at", place, *training, processes=1) for rank in (1, 0)]
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert said[1].count("epoch 2/2 ") == 1 and "epoch 2/2 " not in said[0]
