"""imlkd/features/segment_table.py: the grid of tables on the disk against the one in memory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features import segment_table
from imlkd.features.segment_table import SegmentTable, grid_on_disk
from imlkd.features.segments import Segment, SegmentsConfig, dropped_utterances, segment_grid
from imlkd.kaldi_io import ArkWriter, write_table
from tests.features.test_segments import CONFIGS, LENGTHS, speech_of


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
def test_the_same_as_in_memory(
    lengths: dict[str, int], config: SegmentsConfig, seed: int, marked: int, together: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Names that begin with another's, and utterances without marks, are among them."""
    speech = speech_of(dict(list(lengths.items())[:marked]), seed)
    expected = segment_grid(lengths, speech, config)
    with monkeypatch.context() as patch:
        patch.setattr(segment_table, "_TOGETHER", together)
        found, first, dropped = grid_on_disk(on_disk(tmp_path, lengths, speech), config)
    assert found == expected and list(found) == [found[i] for i in range(len(found))] == expected
    assert list(found.names) == sorted({segment.utterance for segment in expected}, key=str.encode)
    lost = dropped_utterances(expected, sorted(lengths, key=str.encode))
    assert (first, dropped) == (lost[:5], len(lost))


def test_long_utterances_keep_their_order(tmp_path: Path) -> None:
    lengths, config = {"u": 100_300, "v": 300}, SegmentsConfig(durations=[2.0], hop=1.0)
    assert grid_on_disk(on_disk(tmp_path, lengths, {}), config)[0] == segment_grid(lengths, {}, config)


def test_what_is_dropped_is_bounded(tmp_path: Path) -> None:
    folder = on_disk(tmp_path, {"a": 300, "b": 99, "c": 300, "d": 300}, {})
    with pytest.raises(UserError, match=r"^1 of 4 utterances give no training segment \(first: b\): shorten"):
        grid_on_disk(folder, SegmentsConfig(durations=[1.0], max_dropped=0.2))


def test_a_table_is_a_sequence() -> None:
    segments = [Segment("b", 0, 10), Segment("a", 5, 20), Segment("b", 3, 10)]
    table = SegmentTable.of(segments, ["a", "b"])
    assert table == segments and table[1:] == segments[1:] and table[-1] == segments[-1] and len(table) == 3
    assert table != segments[:2] and segments[2] in table
    assert len(SegmentTable.of([], ["a"])) == 0
