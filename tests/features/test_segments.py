"""Training segments: the table of them."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig, each_segment, read_segments, write_segments
from imlkd.kaldi_io import read_table

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


def grid_by_brute_force(
    lengths: dict[str, int], speech: dict[str, np.ndarray], config: SegmentsConfig
) -> list[Segment]:
    """Every place that there is, asked one by one; in the order of ids."""
    hop, found = round(100 * config.hop), []
    for name, total in lengths.items():
        marks = speech.get(name, np.ones(total, np.float32))
        for frames in {round(100 * seconds) for seconds in config.durations}:
            for start in range(0, total - frames + 1):
                if start % hop == 0 and float(marks[start : start + frames].mean()) >= config.min_speech:
                    found.append(Segment(name, start, frames))
    return sorted(found, key=lambda segment: f"{segment.utterance}-{segment.frames:04d}-{segment.start:05d}".encode())


def speech_of(lengths: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Stretches of 40 frames, each speech or not."""
    generator = np.random.default_rng(seed)
    return {
        name: np.repeat(generator.integers(0, 2, frames // 40 + 1), 40)[:frames].astype(np.float32)
        for name, frames in lengths.items()
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(lengths=LENGTHS, config=CONFIGS)
def test_the_table_comes_back(tmp_path: Path, lengths: dict[str, int], config: SegmentsConfig) -> None:
    found = grid_by_brute_force(lengths, {}, config)
    if not found:
        return
    write_segments(tmp_path / "segments", found)
    assert read_segments(tmp_path / "segments") == found
    for name, value in read_table(tmp_path / "segments", fields=4).items():
        utterance, start, end = value.split()
        assert name == f"{utterance}-{round(100 * (float(end) - float(start))):04d}-{round(100 * float(start)):05d}"
        assert re.fullmatch(r"\d+\.\d\d", start) and float(end) <= lengths[utterance] / 100


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("u-0100-00050 u 0.50 2.00", "u-0100-00050 does not fit its times"),
        ("u-0100-00050 u 0.50 x", "u-0100-00050 does not fit its times"),
        ("u-0100-00050 u nan 1.50", "u-0100-00050 does not fit its times"),
        ("u-0100-00050 u 0.50 inf", "u-0100-00050 does not fit its times"),
        ("u-0100-00050 u 0.50", "expected 4 fields, found 3"),
        ("", "expected 4 fields, found 0"),
        ("u-0100-00000 u 0.00 1.00", "u-0100-00000 is there twice, or not in C order"),
        ("t-0100-00000 t 0.00 1.00", "t-0100-00000 is there twice, or not in C order"),
    ],
)
def test_a_table_that_was_tampered_with(tmp_path: Path, second: str, said: str) -> None:
    (tmp_path / "segments").write_text(f"u-0100-00000 u 0.00 1.00\n{second}\n")
    with pytest.raises(UserError, match=f"segments:2: {said}: run stage 3 again"):
        read_segments(tmp_path / "segments")


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "segments").write_text("")
    with pytest.raises(UserError, match="segments: empty file"):
        read_segments(tmp_path / "segments")


def test_one_after_the_other(tmp_path: Path) -> None:
    """Nothing behind a segment is read, nor known to be wrong, before it is given out."""
    (tmp_path / "segments").write_text("u-0100-00000 u 0.00 1.00\nnonsense\n")
    assert next(each_segment(tmp_path / "segments")) == Segment("u", 0, 100)
