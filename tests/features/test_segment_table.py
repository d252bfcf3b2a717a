"""imlkd/features/segment_table.py: where the grid lies, against brute force, and what is dropped."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora.disk_table import DiskIds, DiskTable
from imlkd.errors import UserError
from imlkd.features import segment_table
from imlkd.features.segment_table import SegmentTable, grid_on_disk, ids_of, segments_on_disk
from imlkd.features.segments import Segment, SegmentsConfig, read_segments, write_segments
from imlkd.kaldi_io import ArkWriter, write_table
from tests.features.test_segments import CONFIGS, LENGTHS, grid_by_brute_force, speech_of


def on_disk(folder: Path, lengths: dict[str, int], speech: dict[str, np.ndarray]) -> Path:
    write_table(folder / "utt2num_frames", {name: str(count) for name, count in lengths.items()})
    with ArkWriter(folder / "vad.ark", folder / "vad.scp") as writer:
        for name, marks in (speech or {"~": np.ones(1)}).items():
            writer.write(name, marks)
    return folder


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=LENGTHS, config=CONFIGS, seed=st.integers(0, 9), marked=st.integers(0, 6), together=st.integers(1, 3)
)  # fmt: skip
def test_the_grid_by_brute_force(
    lengths: dict[str, int], config: SegmentsConfig, seed: int, marked: int, together: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Names that begin with another's, and utterances without marks, are among them."""
    speech = speech_of(dict(list(lengths.items())[:marked]), seed)
    expected = grid_by_brute_force(lengths, speech, config)
    with monkeypatch.context() as patch:
        patch.setattr(segment_table, "_TOGETHER", together)
        found, first, dropped = grid_on_disk(on_disk(tmp_path, lengths, speech), config)
    assert found == expected and list(found) == [found[i] for i in range(len(found))] == expected
    assert list(found.ids()) == [segment.id for segment in expected]
    assert list(found.names) == sorted({segment.utterance for segment in expected}, key=str.encode)
    lost = sorted(set(lengths) - {segment.utterance for segment in expected}, key=str.encode)
    assert (first, dropped) == (lost[:5], len(lost))


def test_ids_that_sort_otherwise_than_their_numbers(tmp_path: Path) -> None:
    """Past the digits of an id, and an utterance whose name goes on where another's ends: the names keep C order."""
    config = SegmentsConfig(durations=[2.0], hop=1.0)
    for lengths in ({"u": 100_300, "v": 300}, {"u": 300, "u-0": 300}):
        found = grid_on_disk(on_disk(tmp_path, lengths, {}), config)[0]
        assert found == grid_by_brute_force(lengths, {}, config)
        assert list(found.names) == list(lengths)
    assert [segment.id for segment in found] == ["u-0-0200-00000", "u-0-0200-00100", "u-0200-00000", "u-0200-00100"]


def test_without_marks_of_speech_all_is_speech(tmp_path: Path) -> None:
    config = SegmentsConfig(durations=[1.0], hop=1.0, min_speech=1.0)
    found = grid_on_disk(on_disk(tmp_path, {"u": 250}, {}), config)[0]
    assert [segment.id for segment in found] == ["u-0100-00000", "u-0100-00100"]


@pytest.mark.parametrize(("allowed", "refused"), [(0.25, False), (0.2, True), (0.0, True)])
def test_what_is_dropped_is_bounded_and_named(tmp_path: Path, allowed: float, refused: bool) -> None:
    folder = on_disk(tmp_path, {"a": 300, "b": 99, "c": 300, "d": 300}, {})
    config = SegmentsConfig(durations=[1.0], max_dropped=allowed)
    if refused:
        with pytest.raises(UserError, match=r"^1 of 4 .* give no training segment \(first: b\): shorten") as said:
            grid_on_disk(folder, config)
        assert f"raise `max_dropped` ({allowed})" in str(said.value)
    else:
        assert grid_on_disk(folder, config)[1:] == (["b"], 1)


def test_silence_gives_no_segment(tmp_path: Path) -> None:
    speech = {"a": np.zeros(300, np.float32), "b": np.ones(300, np.float32)}
    with pytest.raises(UserError, match=r"^1 of 2 .*first: a"):
        grid_on_disk(on_disk(tmp_path, {"a": 300, "b": 300}, speech), SegmentsConfig(durations=[1.0]))


def test_a_table_is_a_sequence() -> None:
    segments = [Segment("b", 0, 10), Segment("a", 5, 20), Segment("b", 3, 10)]
    table = SegmentTable.of(segments, ["a", "b"])
    assert table == segments and table[1:] == segments[1:] and table[-1] == segments[-1] and len(table) == 3
    assert table != segments[:2] and segments[2] in table
    assert len(SegmentTable.of([], ["a"])) == 0
    assert list(table.ids()) == list(ids_of(segments)) == ["b-0010-00000", "a-0020-00005", "b-0010-00003"]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, config=CONFIGS, without=st.sets(st.integers(0, 30)), together=st.integers(1, 3))
def test_segments_of_stage_3_as_numbers(
    lengths: dict[str, int], config: SegmentsConfig, without: set[int], together: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    segments = grid_by_brute_force(lengths, {}, config)
    if not segments:
        return
    write_segments(tmp_path / "segments", segments)
    gone = {segment.id for number, segment in enumerate(segments) if number in without}
    utterances = DiskTable(on_disk(tmp_path, lengths, {}) / "utt2num_frames")
    with monkeypatch.context() as patch:
        patch.setattr(segment_table, "_TOGETHER", together)
        found = segments_on_disk(tmp_path / "segments", utterances, gone)
        assert list(found) == [segment for segment in read_segments(tmp_path / "segments") if segment.id not in gone]
        assert list(ids_of(found)) == [segment.id for segment in found]
    names = [segment.utterance for segment in found]
    if names and names == sorted(names, key=str.encode):
        assert isinstance(found, SegmentTable) and isinstance(found.names, DiskIds)
        assert list(found.names) == list(dict.fromkeys(names))


def test_segments_of_stage_3_whose_utterances_sort_otherwise(tmp_path: Path) -> None:
    lengths, config = {"u": 300, "u-0": 300}, SegmentsConfig(durations=[2.0], hop=1.0)
    segments = grid_by_brute_force(lengths, {}, config)
    write_segments(tmp_path / "segments", segments)
    utterances = DiskTable(on_disk(tmp_path, lengths, {}) / "utt2num_frames")
    assert segments_on_disk(tmp_path / "segments", utterances) == segments
    assert SegmentTable.over(segments) == segments and SegmentTable.over(segments).names == ["u", "u-0"]
