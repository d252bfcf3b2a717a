from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.study.cost import Cost, cost_of
from imlkd.study.record import Record, packed, read_records, unpacked

RECORD = Record("s", "kd", "tiny", 1, 2, "abc", "hash", "git", 1000, 1.5, {"full": packed(np.array([0.25, -0.5]))})


@given(st.lists(st.floats(-1.0, 1.0), max_size=50))
def test_scores_survive_to_half_a_step(values: list[float]) -> None:
    np.testing.assert_allclose(unpacked(packed(np.array(values))), values, atol=2.0**-15)


def test_written_and_read(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "kd.tiny.f1.s2.json")
    (read,) = read_records(tmp_path)
    assert read == RECORD
    np.testing.assert_array_equal(read.score("full"), [0.25, -0.5])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"study": "s"}'])
def test_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="x.json: not a record of a run: remove it"):
        read_records(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_no_cosines(value: float) -> None:
    with pytest.raises(ValueError, match="scores are no cosines"):
        packed(np.array([value]))


def test_cost_is_read_from_the_folder_of_a_training(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert cost_of(tmp_path) == Cost()  # an imported teacher
    (tmp_path / "config.yaml").write_text("training: {batch: 64}\n")
    (tmp_path / "log" / "seconds").write_text("90.0\n")
    (tmp_path / "log" / "peak_mb").write_text("512\n")
    entries = "".join(f'{{"epoch": {i}, "samples_per_second": {v}}}\n' for i, v in enumerate((320.0, 640.0, 6400.0)))
    (tmp_path / "log" / "train.jsonl").write_text(entries)
    assert cost_of(tmp_path) == Cost(1.5, 100.0, 512.0)  # 64 / 640 s
