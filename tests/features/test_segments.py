"""Training segments: where the grid lies, what is dropped, and the table of them."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features.segments import (
    Segment,
    SegmentsConfig,
    dropped_utterances,
    read_segments,
    segment_grid,
    write_segments,
)
from imlkd.kaldi_io import read_table, sort_ids

LENGTHS = st.dictionaries(
    st.from_regex(r"[a-z0-9]{1,3}(-[a-z0-9]{1,3})?", fullmatch=True), st.integers(1, 700), min_size=1, max_size=6
)
CONFIGS = st.builds(
    SegmentsConfig,
    durations=st.lists(st.sampled_from([0.2, 0.5, 1.0, 1.6, 2.0, 3.0]), min_size=1, max_size=4),
    hop=st.sampled_from([0.07, 0.5, 1.0]),
    min_speech=st.sampled_from([0.0, 0.3, 1.0]),
    max_dropped=st.just(1.0),
)


def speech_of(lengths: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Stretches of 40 frames, each speech or not."""
    generator = np.random.default_rng(seed)
    return {
        name: np.repeat(generator.integers(0, 2, frames // 40 + 1), 40)[:frames].astype(np.float32)
        for name, frames in lengths.items()
    }


@settings(deadline=None, max_examples=80)
@given(lengths=LENGTHS, config=CONFIGS, seed=st.integers(0, 9))
def test_the_grid_by_brute_force(lengths: dict[str, int], config: SegmentsConfig, seed: int) -> None:
    speech = speech_of(lengths, seed)
    expected = set()
    for name, total in lengths.items():
        for frames in {round(100 * d) for d in config.durations}:
            for start in range(0, total):
                fits = start % round(100 * config.hop) == 0 and start + frames <= total
                if fits and speech[name][start : start + frames].mean() >= config.min_speech:
                    expected.add(Segment(name, start, frames))
    found = segment_grid(lengths, speech, config)
    assert len(found) == len(set(found)) and set(found) == expected
    ids = [segment.id for segment in found]
    assert ids == sort_ids(ids) and len(set(ids)) == len(ids)
    assert sorted({s.utterance for s in found} | set(dropped_utterances(found, list(lengths)))) == sorted(lengths)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(lengths=LENGTHS, config=CONFIGS)
def test_the_table_comes_back(tmp_path: Path, lengths: dict[str, int], config: SegmentsConfig) -> None:
    found = segment_grid(lengths, {}, config)
    if not found:
        return
    write_segments(tmp_path / "segments", found)
    assert read_segments(tmp_path / "segments") == found
    for name, value in read_table(tmp_path / "segments", fields=4).items():
        utterance, start, end = value.split()
        assert name == f"{utterance}-{round(100 * (float(end) - float(start))):04d}-{round(100 * float(start)):05d}"
        assert re.fullmatch(r"\d+\.\d\d", start) and float(end) <= lengths[utterance] / 100


def test_without_marks_of_speech_all_is_speech() -> None:
    config = SegmentsConfig(durations=[1.0], hop=1.0, min_speech=1.0)
    assert [s.id for s in segment_grid({"u": 250}, {}, config)] == ["u-0100-00000", "u-0100-00100"]


def test_long_utterances_keep_their_order() -> None:
    found = segment_grid({"u": 100_300}, {}, SegmentsConfig(durations=[2.0], hop=1.0))
    assert len({s.id for s in found}) == len(found) == 1002
    assert [s.id for s in found] == sort_ids([s.id for s in found])


@pytest.mark.parametrize(("allowed", "refused"), [(0.25, False), (0.2, True), (0.0, True)])
def test_what_is_dropped_is_bounded_and_named(allowed: float, refused: bool) -> None:
    lengths = {"a": 300, "b": 99, "c": 300, "d": 300}
    config = SegmentsConfig(durations=[1.0], max_dropped=allowed)
    if refused:
        with pytest.raises(
            UserError, match=r"^1 of 4 utterances give no training segment \(first: b\): shorten"
        ) as said:
            segment_grid(lengths, {}, config)
        assert f"raise `max_dropped` ({allowed})" in str(said.value)
    else:
        assert dropped_utterances(segment_grid(lengths, {}, config), list(lengths)) == ["b"]


def test_silence_gives_no_segment() -> None:
    speech = {"a": np.zeros(300, np.float32), "b": np.ones(300, np.float32)}
    with pytest.raises(UserError, match=r"^1 of 2 .*first: a"):
        segment_grid({"a": 300, "b": 300}, speech, SegmentsConfig(durations=[1.0]))


def test_a_table_that_was_tampered_with(tmp_path: Path) -> None:
    (tmp_path / "segments").write_text("u-0100-00000 u 0.00 1.00\nu-0100-00050 u 0.50 2.00\n")
    with pytest.raises(UserError, match="segments: u-0100-00050 does not fit its times: run stage 3 again"):
        read_segments(tmp_path / "segments")
