"""What a training says of itself, an entry an epoch: ``log/train.jsonl``, and TensorBoard's event file beside it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from imlkd.files import atomic_open, atomic_write_text, make_dir, os_errors, parse_json
from imlkd.training.curve import EXPECTED, Curve, write_curve


class TrainingLog:
    """Both files of a training folder; entries behind ``done`` epochs, which will be run again, are dropped.

    ``expected``, the curve to follow, lies beside the first as ``expected.jsonl``, and is drawn by TensorBoard as a run
    of that name.

    Events are written in this thread, record by record, so that a full disk is an error here and not in the background.
    """

    def __init__(self, folder: Path, done: int, expected: Curve | None = None) -> None:
        self.lines = make_dir(folder / "log") / "train.jsonl"
        self.events = folder / "tensorboard" / "events.out.tfevents.0.imlkd"
        old = self.lines.read_text(encoding="utf-8").splitlines() if self.lines.is_file() else []
        kept = [line for line in old if _epoch_of(line) <= done]
        atomic_write_text(self.lines, "".join(f"{line}\n" for line in kept))
        with atomic_open(self.events, "wb") as stream:
            for line in kept:
                _write_event(stream, parse_json(line))
        (folder / EXPECTED).unlink(missing_ok=True)
        if expected is not None:
            write_curve(expected.entries, folder / EXPECTED)
            with atomic_open(self.events.parent / "expected" / self.events.name, "wb") as stream:
                for entry in expected.entries:
                    _write_event(stream, entry)

    def add(self, entry: Mapping[str, float]) -> None:
        """Append an epoch's entry: ``epoch``, ``seconds`` in all so far, and named numbers."""
        with os_errors(self.lines), open(self.lines, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        with os_errors(self.events), open(self.events, "ab") as events:
            _write_event(events, entry)


def _write_event(stream: IO[Any], entry: Mapping[str, float]) -> None:
    """One record of TensorBoard's format with a scalar for each number; nothing where tensorboard is not installed."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        return
    values = [Summary.Value(tag=name, simple_value=value) for name, value in entry.items() if name != "epoch"]
    event = Event(wall_time=time.time(), step=int(entry["epoch"]), summary=Summary(value=values))
    RecordWriter(stream).write(event.SerializeToString())


def _epoch_of(line: str) -> float:
    try:
        return float(parse_json(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf
