"""A training that ended before its end: the same command goes on, to the bit where it can be."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.method import Method
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.errors import Preempted
from imlkd.training.checkpoint import CheckpointStore
from imlkd.training.config import CheckpointsConfig, LoaderConfig
from imlkd.training.position import Work
from imlkd.training.sampling import Indices
from imlkd.training.trainer import Trainer
from tests.training.loops import CONFIG, Interrupted, Make, Projected, log, same, trainer

pytestmark = pytest.mark.usefixtures("leave_torch_as_it_was")


@pytest.mark.parametrize("method", [NoTeacher(NoTeacherConfig()), Projected()])
@pytest.mark.parametrize("die_at", [0, 1, 7, 11])
def test_interrupted_and_resumed_it_is_the_same_to_the_bit(
    pool: Make, tmp_path: Path, method: Method, die_at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    start = {name: value.clone() for name, value in method.state_dict().items()}

    def run(folder: Path, die_at: int | None = None) -> Trainer:
        method.load_state_dict(start)
        training = trainer(made, folder, method=method, die_at=die_at)
        if die_at is None:
            training.run()
        else:
            with pytest.raises(Interrupted):
                training.run()
        return training

    whole = run(tmp_path / "whole")
    expected = {name: value.clone() for name, value in whole.model.state_dict().items()}
    projection = {name: value.clone() for name, value in method.state_dict().items()}
    run(tmp_path / "torn", die_at)
    capsys.readouterr()
    resumed = run(tmp_path / "torn")
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("starting from scratch" if die_at < 2 else "going on after epoch")
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())
    assert all(torch.equal(value, projection[name]) for name, value in method.state_dict().items())
    assert log(tmp_path / "torn") == log(tmp_path / "whole")


def test_finished_it_only_looks(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    first = trainer(made, tmp_path)
    seconds = first.run()
    again = trainer(made, tmp_path, die_at=0)
    assert again.run() == seconds > 0
    assert "going on after epoch 6" in capsys.readouterr().out
    state = first.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())


def test_a_checkpoint_of_something_else_is_not_used(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    trainer(made, tmp_path, made_from="another").run()
    capsys.readouterr()
    found = trainer(made, tmp_path, made_from="x")
    found.run()
    assert "belongs to another configuration or other data: starting from scratch" in capsys.readouterr().out
    alone = trainer(made, tmp_path / "alone")
    alone.run()
    expected = alone.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    assert log(tmp_path) == log(tmp_path / "alone")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    whole = trainer(made, tmp_path / "whole")
    whole.run()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path / "torn", die_at=7).run()
    newest = CheckpointStore(tmp_path / "torn", 2).paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    capsys.readouterr()
    resumed = trainer(made, tmp_path / "torn")
    resumed.run()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"warning: {newest} is damaged: taking the one before" and "going on after epoch 2" in said[1]
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


def test_a_changed_setting_is_named(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    trainer(made, tmp_path).run()
    for change, words in (
        ({"learning_rate": 0.02}, "starting from scratch (training.learning_rate 0.01 -> 0.02)"),
        ({"learning_rate": 0.02, "loader": LoaderConfig(prefetch=9)}, "loader.prefetch 4 -> 9: without effect"),
        ({"learning_rate": 0.02, "threads": 0}, "training.threads 1 -> 0: no longer the same to the bit"),
    ):
        capsys.readouterr()
        trainer(made, tmp_path, dataclasses.replace(CONFIG, **change)).run()  # type: ignore[arg-type]
        assert words in capsys.readouterr().out.splitlines()[0]


def test_checkpoints_inside_an_epoch(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, crops=4, checkpoints=CheckpointsConfig(steps=4))
    whole = trainer(made, tmp_path / "whole", config, Projected())
    start = {name: value.clone() for name, value in whole.objective.state_dict().items()}
    whole.run()
    with pytest.raises(Interrupted):
        method = Projected()
        method.load_state_dict({name.removeprefix("method."): value for name, value in start.items()})
        trainer(made, tmp_path / "torn", config, method, die_at=8).run()
    capsys.readouterr()
    resumed = trainer(made, tmp_path / "torn", config, Projected())
    resumed.run()
    assert "going on after step " in capsys.readouterr().out.splitlines()[0]
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


def test_checkpoints_by_the_clock(pool: Make, tmp_path: Path) -> None:
    """After as many minutes as it says, here next to none; without, at the ends of epochs alone."""
    made, steps = pool(), {}
    for minutes in (1e-9, 0.0):
        folder = tmp_path / str(minutes)
        config = dataclasses.replace(CONFIG, crops=4, checkpoints=CheckpointsConfig(minutes=minutes, last=99))
        trainer(made, folder, config).run()
        steps[minutes] = [int(path.name[:9]) for path in CheckpointStore(folder, 99).paths()]
    assert steps == {1e-9: list(range(1, 19)), 0.0: list(range(3, 19, 3))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_asked_to_leave_it_saves_and_goes_on_there(pool: Make, tmp_path: Path, number: signal.Signals) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, crops=4)
    whole = trainer(made, tmp_path / "whole", config)
    whole.run()
    training = trainer(made, tmp_path / "torn", config)
    make, steps = training.make_batch, []

    def asked(chosen: Indices) -> DistillationBatch:
        steps.append(1)
        if len(steps) == 5:
            os.kill(os.getpid(), number)
        return make(chosen)

    training.make_batch = asked
    before = signal.getsignal(number)
    with pytest.raises(Preempted, match=f"{number.name}: saved after step 5: the same command goes on there"):
        training.run()
    assert signal.getsignal(number) == before
    resumed = trainer(made, tmp_path / "torn", config)
    resumed.run()
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


def test_asked_as_all_processes_are_its_workers_stay_until_it_has_saved(pool: Make, tmp_path: Path) -> None:
    """Launchers and clusters send SIGTERM to workers as well."""
    made, config = pool(), dataclasses.replace(CONFIG, crops=4, loader=LoaderConfig(workers=2, prefetch=1))
    training, asked = trainer(made, tmp_path, config), list[int]()
    do = training._do

    def sent(work: Work, batch: DistillationBatch) -> None:
        do(work, batch)
        asked.append(1)
        if len(asked) in (2, 4):
            workers = [str(worker.pid) for worker in multiprocessing.active_children()]
            everyone = [*workers, str(os.getpid())] if len(asked) == 4 else workers
            subprocess.run(["kill", "-TERM", *everyone], check=True)
            time.sleep(0.2)

    training._do = sent  # type: ignore[method-assign]
    with pytest.raises(Preempted, match="SIGTERM: saved after step 4"):
        training.run()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("half", ['{"epoch": 3, "lo', '{"epoch": "x"}\n', "[]\n", "{}\n"])
def test_a_log_that_was_torn_is_mended(pool: Make, tmp_path: Path, half: str) -> None:
    made = pool()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path, die_at=7).run()
    with open(tmp_path / "log/train.jsonl", "a") as stream:
        stream.write(half)
    trainer(made, tmp_path).run()
    assert [entry["epoch"] for entry in log(tmp_path)] == [1, 2, 3, 4, 5, 6]
