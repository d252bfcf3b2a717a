"""The curve that a training is expected to follow: kept from a run, read back, held against another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.training.curve import curve_beside, read_curve, write_curve
from imlkd.training.log import TrainingLog


def entries(epochs: int, first: float = 4.0) -> list[dict[str, float]]:
    return [
        {"epoch": n + 1, "seconds": 1.5 * n, "loss": first / (n + 1), "aam": 1.0, "learning_rate": 0.1}
        for n in range(epochs)
    ]


def log_of(folder: Path, epochs: int) -> Path:
    log = TrainingLog(folder, 0)
    for entry in entries(epochs):
        log.add(entry)
    return folder / "log/train.jsonl"


def test_a_log_is_kept_without_its_times(tmp_path: Path) -> None:
    path = tmp_path / "conf/curves/kd.jsonl"
    write_curve(read_curve(log_of(tmp_path, 3)).entries, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries(3)]
    found = curve_beside(tmp_path / "conf/student.yaml", "kd")
    assert found is not None and found.entries == lines
    assert curve_beside(tmp_path / "conf/student.yaml", "none") is None and curve_beside(None, "kd") is None


def test_what_a_line_says_of_it(tmp_path: Path) -> None:
    write_curve([{"epoch": 1, "loss": 4.321, "dev_eer": 0.1}, {"epoch": 2, "aam": 1.0}], tmp_path / "c.jsonl")
    curve = read_curve(tmp_path / "c.jsonl")
    assert curve.said(1) == "(expected loss 4.32 dev_eer 0.1)" and curve.said(2) == curve.said(3) == ""
    assert curve.misfit(2) == "" and re.search("is of 2 epochs, this training of 5", curve.misfit(5))


BAD = ["no json\n", '{"epoch": 2, "loss": 1}\n', '{"loss": 1}\n', '{"epoch": "x"}\n', "[1]\n"]


@pytest.mark.parametrize("text", BAD)
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}:1: no entry of epoch 1"):
        read_curve(path)


def test_tensorboard_draws_both(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_curve(entries(3, first=8.0), tmp_path / "c.jsonl")
    log = TrainingLog(tmp_path, 0, read_curve(tmp_path / "c.jsonl"))
    log.add(entries(1)[0])
    for folder, losses in (("tensorboard", [4.0]), ("tensorboard/expected", [8.0, 4.0, pytest.approx(8 / 3)])):
        events = accumulator.EventAccumulator(str(tmp_path / folder))
        events.Reload()
        assert [event.value for event in events.Scalars("loss")] == losses


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("egs/*/conf*/curves/*.jsonl")), ids=str)
def test_shipped_curves_fit_their_recipes(path: Path) -> None:
    import yaml

    conf, curve = path.parents[1], read_curve(path)
    settings = yaml.safe_load((conf / ("teacher.yaml" if path.stem == "teacher" else "student.yaml")).read_text())
    assert curve.misfit(settings["training"]["epochs"]) == ""
    losses = [entry["loss"] for entry in curve.entries]
    assert losses[-1] < losses[0] and not any("seconds" in entry for entry in curve.entries)
