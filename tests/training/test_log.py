"""The training log: lines and TensorBoard events tell the same, also after epochs were run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imlkd.training.log import TrainingLog


def entry(epoch: int, loss: float) -> dict[str, float]:
    return {"epoch": epoch, "seconds": 1.5 * epoch, "loss": loss}


def test_tensorboard_reads_what_the_lines_say(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    first = TrainingLog(tmp_path, 0)
    for epoch, loss in ((1, 4.0), (2, 3.0), (3, 9.0)):
        first.add(entry(epoch, loss))
    again = TrainingLog(tmp_path, 2)  # epoch 3 was not in the checkpoint
    again.add(entry(3, 2.5))
    lines = [json.loads(line) for line in (tmp_path / "log" / "train.jsonl").read_text().splitlines()]
    assert lines == [entry(1, 4.0), entry(2, 3.0), entry(3, 2.5)]
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "seconds"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 4.0), (2, 3.0), (3, 2.5)]


def test_a_cut_off_line_is_dropped(tmp_path: Path) -> None:
    TrainingLog(tmp_path, 0).add(entry(1, 4.0))
    with open(tmp_path / "log" / "train.jsonl", "a") as stream:
        stream.write('{"epoch": 2, "lo')
    TrainingLog(tmp_path, 5)
    assert len((tmp_path / "log" / "train.jsonl").read_text().splitlines()) == 1
