"""From an attribution map to relevance: hand numbers, and what must hold for every map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.attribution.relevance import RelevanceConfig, frame_relevance

PLAIN = RelevanceConfig(smoothing=1, clip=1.0)
MAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 4)),
    elements=st.floats(-10, 10, width=32),
)


def relevance(rows: list[list[float]], config: RelevanceConfig) -> list[float]:
    """Of one map, frames by bins."""
    return [round(value, 5) for value in frame_relevance(torch.tensor([rows]), config)[0].tolist()]


@pytest.mark.parametrize(
    ("sign", "expected"),
    [("relu", [0.5, 0.0, 1.0]), ("abs", [1.0, 0.0, 0.8]), ("signed", [0.0, 0.6, 1.0])],
)
def test_signs_by_hand(sign: str, expected: list[float]) -> None:
    """Sums of the bins: relu 2, 0, 4; abs 5, 0, 4; signed -1, 0.5 * ... shifted to 0 and scaled to 1."""
    rows = {"relu": [[2.0, -3.0], [0.0, -1.0], [4.0, 0.0]], "abs": [[2.0, -3.0], [0.0, 0.0], [4.0, 0.0]]}
    rows["signed"] = [[2.0, -3.0], [3.0, -1.0], [4.0, 0.0]]  # -1, 2, 4
    assert relevance(rows[sign], RelevanceConfig(smoothing=1, clip=1.0, sign=sign)) == expected


@pytest.mark.parametrize(
    ("frames", "smoothing", "expected"),
    [
        ([0, 0, 6, 0, 0], 3, [0, 1, 1, 1, 0]),  # 0, 2, 2, 2, 0
        ([6, 0, 0, 0, 0], 3, [1, 0.66667, 0, 0, 0]),  # at the edge the mean of two: 3, 2, 0, 0, 0
        ([0, 0, 0, 0, 10], 5, [0, 0, 0.6, 0.75, 1.0]),  # 0, 0, 2, 2.5, 3.33333
        ([0, 1, 2, 4], 1, [0, 0.25, 0.5, 1]),
        ([0, 4], 99, [0, 0]),  # both the same mean: nothing stands out
    ],
)
def test_smoothing_by_hand(frames: list[float], smoothing: int, expected: list[float]) -> None:
    rows = [[float(value)] for value in frames]
    assert relevance(rows, RelevanceConfig(smoothing=smoothing, clip=1.0)) == expected


def test_the_clip_keeps_one_frame_from_setting_the_scale() -> None:
    rows = [[0.0], [1.0], [2.0], [3.0], [100.0]]
    assert relevance(rows, PLAIN) == [0.0, 0.01, 0.02, 0.03, 1.0]
    assert relevance(rows, RelevanceConfig(smoothing=1, clip=0.75)) == [0.0, 0.33333, 0.66667, 1.0, 1.0]
    top = np.quantile([0, 1, 2, 3, 100], 0.9)  # between two frames, as numpy
    expected = [round(min(value, top) / top, 5) for value in (0, 1, 2, 3, 100)]
    assert relevance(rows, RelevanceConfig(smoothing=1, clip=0.9)) == expected


@settings(deadline=None, max_examples=80)
@given(
    maps=MAPS,
    sign=st.sampled_from(["relu", "abs", "signed"]),
    smoothing=st.integers(1, 7),
    clip=st.sampled_from([0.5, 0.95, 1.0]),
)
def test_what_always_holds(maps: np.ndarray, sign: str, smoothing: int, clip: float) -> None:
    config = RelevanceConfig(sign=sign, smoothing=smoothing, clip=clip)
    found = frame_relevance(torch.from_numpy(maps), config)
    assert found.shape == maps.shape[:2] and torch.isfinite(found).all()
    assert (found >= 0).all() and (found <= 1).all()
    for row, one in zip(found, maps, strict=True):
        assert torch.equal(frame_relevance(torch.from_numpy(one[None]), config)[0], row)  # rows are independent
        assert row.min() == 0  # the least relevant frame
        louder = frame_relevance(torch.from_numpy(8 * one[None]), config)[0]
        if np.abs(one).max() > 1e-3:
            torch.testing.assert_close(louder, row, rtol=1e-3, atol=1e-3)  # the map's scale does not count


@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0, 1e6])
def test_a_map_in_which_nothing_stands_out(level: float) -> None:
    assert not frame_relevance(torch.full((2, 9, 3), level), RelevanceConfig()).any()


def test_what_the_clip_leaves_may_be_small() -> None:
    for scale in (1e-20, 1e-30, 1.0):
        assert relevance([[0.0], [1.0], [scale]], RelevanceConfig(smoothing=1, clip=0.5)) == [0.0, 1.0, 1.0]


def test_the_most_relevant_frame_is_one() -> None:
    found = frame_relevance(torch.rand(5, 50, 4), RelevanceConfig())
    torch.testing.assert_close(found.amax(1), torch.ones(5))
