from pathlib import Path

import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.kaldi_io import read_scp_arrays
from imlkd.scoring import cohort
from imlkd.scoring.cohort import refuse_shared_speakers, side_statistics, speakers_of

IDS = ["b", "a", "c"]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(3, 4)).astype(np.float32), generator.normal(size=(9, 4)).astype(np.float32)


def test_speakers_of_utterances_and_of_models_named_by_speaker() -> None:
    utt2spk = {"u1": "s1", "u2": "s2"}
    assert speakers_of(["u1", "s2", "u1"], utt2spk, "utt2spk") == {"s1", "s2"}
    with pytest.raises(UserError, match="utt2spk: 2 of 3 ids have no speaker, first: x, y: add their utt2spk"):
        speakers_of(["x", "u1", "y"], utt2spk, "utt2spk")


def test_shared_speakers() -> None:
    refuse_shared_speakers({"a"}, {"b"}, "c.scp", "the cohort")
    with pytest.raises(UserError, match="c.scp: the cohort shares 2 speakers with the trials, first: b, d: take"):
        refuse_shared_speakers({"a", "d", "b"}, {"b", "c", "d"}, "c.scp", "the cohort")


def test_cache_is_an_ark_by_id_and_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, members = arrays()
    first = side_statistics(IDS, rows, members, 5, "enroll", tmp_path)
    table = read_scp_arrays(tmp_path / "enroll.scp")
    assert list(table) == ["a", "b", "c"]
    np.testing.assert_array_equal(np.stack([table[name] for name in IDS]), first)
    monkeypatch.setattr(cohort, "cohort_statistics", None)  # calling it would fail
    np.testing.assert_array_equal(side_statistics(IDS, rows, members, 5, "enroll", tmp_path), first)


@pytest.mark.parametrize("change", ["rows", "cohort", "top_k", "ids", "scp", "note"])
def test_cache_of_something_else_is_made_again(change: str, tmp_path: Path) -> None:
    rows, members = arrays()
    side_statistics(IDS, rows, members, 5, "enroll", tmp_path)
    other_rows, other_members = rows + (change == "rows"), members * (2.0 if change == "cohort" else 1.0)
    ids, top_k = ["x", "y", "z"] if change == "ids" else IDS, 6 if change == "top_k" else 5
    if change == "scp":
        (tmp_path / "enroll.scp").write_text("damaged\n")
    if change == "note":
        (tmp_path / "enroll.made_from.json").write_text("[]")
    expected = side_statistics(ids, other_rows, other_members, top_k, "enroll")
    np.testing.assert_array_equal(side_statistics(ids, other_rows, other_members, top_k, "enroll", tmp_path), expected)
    assert sorted(read_scp_arrays(tmp_path / "enroll.scp")) == sorted(ids)


def test_cohort_of_one_embedding_many_times() -> None:
    rows, members = arrays()
    with pytest.raises(UserError, match="b: all scores against the cohort are the same"):
        side_statistics(IDS, rows, np.repeat(members[:1], 5, axis=0), None, "enroll")
