from pathlib import Path

import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter
from imlkd.scoring.quality import read_quality


def write(folder: Path, name: str, vectors: dict[str, list[float]]) -> Path:
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as writer:
        for key, vector in vectors.items():
            writer.write(key, vector)
    return folder / f"{name}.scp"


def test_smaller_and_larger_of_the_two_sides(tmp_path: Path) -> None:
    (tmp_path / "utt2dur").write_text("a 2.0\nb 8\nc 1\n")
    magnitude = write(tmp_path, "xvector", {"a": [3.0, 4.0], "b": [0.0, 1.0], "c": [2.0, 0.0]})
    stats = write(tmp_path, "stats", {"a": [0.5, 9.0], "b": [-0.5, 9.0], "c": [0.25, 9.0]})
    features = read_quality((tmp_path / "utt2dur",), (magnitude,), (stats,)).features(["a", "c"], ["b", "a"])
    np.testing.assert_allclose(features["duration_min"], np.log([2.0, 1.0]))
    np.testing.assert_allclose(features["duration_max"], np.log([8.0, 2.0]))
    assert features["magnitude_min"].tolist() == [1.0, 2.0] and features["magnitude_max"].tolist() == [5.0, 5.0]
    assert features["cohort_mean_min"].tolist() == [-0.5, 0.25] and features["cohort_mean_max"].tolist() == [0.5, 0.5]


def test_several_files_of_one_measure_are_joined(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a 1\n")
    (tmp_path / "two").write_text("b 1\n")
    assert read_quality((tmp_path / "one", tmp_path / "two")).features(["a"], ["b"])["duration_min"].tolist() == [0.0]
    assert read_quality().features(["a"], ["b"]) == {}


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_what_is_no_duration(value: str, tmp_path: Path) -> None:
    (tmp_path / "utt2dur").write_text(f"a 1\nb {value}\n")
    with pytest.raises(UserError, match=f"utt2dur: b: '{value}' is no duration"):
        read_quality((tmp_path / "utt2dur",))


def test_id_without_a_value(tmp_path: Path) -> None:
    (tmp_path / "utt2dur").write_text("a 1\n")
    with pytest.raises(UserError, match=r"b: has no duration \(2 such ids\): add its table with --utt2dur"):
        read_quality((tmp_path / "utt2dur",)).features(["a", "b"], ["c", "b"])
