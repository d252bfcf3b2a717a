"""What goes wrong in a training, and what is said of it."""

import dataclasses
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import UserError
from imlkd.training.checkpoint import CheckpointStore
from imlkd.training.config import LoaderConfig
from imlkd.training.loader import Loader
from imlkd.training.position import Plan, Position, Work
from imlkd.training.sampling import Indices
from imlkd.training.trainer import Trainer
from tests.training.loops import CONFIG, Interrupted, Make, Projected, log, trainer

pytestmark = pytest.mark.usefixtures("leave_torch_as_it_was")


def test_a_loss_that_is_not_finite_stops_at_once(pool: Make, tmp_path: Path) -> None:
    made = pool()
    made.frames[made.offsets["s1-u1"] : made.offsets["s1-u2"]] = float("nan")
    with pytest.raises(UserError) as caught:
        trainer(made, tmp_path).run()
    message = str(caught.value)
    assert message.startswith("loss is not finite (aam) on a batch with s")
    assert f", all of it in {tmp_path}/log/trouble.jsonl: lower training.learning_rate, or mend" in message
    assert "-00" in message and CheckpointStore(tmp_path, 2).paths() == []


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(
    pool: Make,
    tmp_path: Path,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = pool()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path, die_at=7).run()
    kept = CheckpointStore(tmp_path, 2).paths()
    before, lines = [path.read_bytes() for path in kept], (tmp_path / "log/train.jsonl").stat().st_size
    limits = ((0, "train.jsonl"), (lines + 20, "train.jsonl"), (len(before[-1]) // 2, r"\d{9}.*\.pt"))
    for limit, name in limits:  # rewriting the log, adding a line to it, the next checkpoint
        with file_size_limit(limit), pytest.raises(UserError, match=f"{name}: the file-size limit is reached"):
            trainer(made, tmp_path).run()
        assert [path.read_bytes() for path in CheckpointStore(tmp_path, 2).paths()] == before
    trainer(made, tmp_path).run()
    assert [entry["epoch"] for entry in log(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


def test_a_batch_that_is_not_finite_is_left_out_and_noted(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=2)
    training = trainer(pool(), tmp_path, config)
    make, steps = training.make_batch, []

    def ill(chosen: Indices) -> DistillationBatch:
        batch = make(chosen)
        steps.append(1)
        if len(steps) in (2, 4):
            batch.features[0, 0, 0] = float("nan")
        return batch

    training.make_batch = ill
    training.run()
    entries = [json.loads(line) for line in (tmp_path / "log/trouble.jsonl").read_text().splitlines()]
    assert [entry["terms"] for entry in entries] == [{"loss": "nan", "aam": "nan"}] * 2
    assert all(len(entry["segments"]) >= 2 for entry in entries)
    assert "step left out (2 of 2)" in capsys.readouterr().out
    assert all(value.isfinite().all() for value in training.model.state_dict().values()), "statistics have seen it"
    assert all(math.isfinite(entry["loss"]) for entry in log(tmp_path))


def test_a_device_without_room_names_the_batch_and_the_key(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(pool(), tmp_path)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.objective, "forward", full)
    with pytest.raises(UserError, match=r"out of memory on a batch of \d+ segments of \d+ frames .*training.batch"):
        training.run()


def test_the_largest_batch_is_tried_first_and_leaves_no_trace(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pool(durations=(10, 20, 60), frames=60)
    training = trainer(made, tmp_path / "a", method=Projected())
    plan = Plan(made, CONFIG, Position(), training.processes)
    loader = Loader(plan, training.make_batch, CONFIG.loader)
    largest = plan.largest()
    frames = [len(batch) * made.segments[batch[0]].frames for batch in plan.epoch(0)]
    assert len(largest.chosen) * made.segments[largest.chosen[0]].frames == max(frames) > min(frames)
    state = {name: value.clone() for name, value in training.stepper.loss.state_dict().items()}
    numbers = torch.get_rng_state()
    training.rehearse(plan, loader)
    assert all(torch.equal(value, state[name]) for name, value in training.stepper.loss.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers) and not training.optimizer.state
    assert all(parameter.grad is None for parameter in training.stepper.parameters)

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(training.stepper, "_gradient", full)
    said = rf"batch of {len(largest.chosen)} .* frames \(first: {made.segments[largest.chosen[0]].id}\): lower"
    with pytest.raises(UserError, match=said):
        training.rehearse(plan, loader)


def test_a_collapsed_embedding_is_noticed_once(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    assert isinstance(made.frames, torch.Tensor)
    made.frames[:] = 1.0  # whoever hears nothing says the same of all
    trainer(made, tmp_path).run()
    assert capsys.readouterr().out.count("epoch 1: warning: the embedding is collapsed: all segments say nearly") == 1
    assert max(entry["spread"] for entry in log(tmp_path)) < 1e-3


def test_on_a_gpu_the_largest_batch_comes_first(pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a device that only calls itself one; the CPU, whose memory ends in no error, goes without."""
    monkeypatch.setattr(DistillationBatch, "to", lambda self, device: self)
    for kind, expected in (("cuda", [0]), ("cpu", [])):
        training, found = trainer(pool(), tmp_path / kind), list[int]()
        training.device = SimpleNamespace(type=kind)  # type: ignore[assignment]

        def rehearse(plan: Plan, loader: Loader, own: Trainer = training, found: list[int] = found) -> None:
            found.append(own.course.position.steps)

        training.rehearse = rehearse  # type: ignore[method-assign]
        training.run()
        assert found == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_while_the_training_steps_is_one_line(
    pool: Make, tmp_path: Path, workers: int
) -> None:
    """Not only while it waits for a batch: torch raises what has become of a worker wherever the training is."""
    training = trainer(pool(), tmp_path, dataclasses.replace(CONFIG, loader=LoaderConfig(workers=workers)))
    step = training.stepper.step

    def killing(work: Work, batch: DistillationBatch) -> dict[str, float]:
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        time.sleep(60)  # ended by the signal
        return step(work, batch)

    training.stepper.step = killing  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"^loader worker \d+ was ended by Killed .*: lower training.loader.workers"):
        training.run()
