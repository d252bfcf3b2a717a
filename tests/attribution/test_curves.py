"""Relevance over whole utterances: where windows lie, and their means against loops over frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.attribution.curves import Curve, curve_names, curve_of, curve_windows, curves_of, distinct, fuse
from imlkd.features.segments import Segment, SegmentsConfig

CONFIG = SegmentsConfig(durations=[1.0, 2.0, 3.0], hop=0.5)


def places(windows: dict[str, list[Segment]]) -> dict[str, list[tuple[int, int]]]:
    return {name: [(w.start, w.frames) for w in own] for name, own in windows.items()}


def test_windows_by_hand() -> None:
    assert curve_names(CONFIG, True) == ["100", "200", "300", "full"]
    windows = curve_windows("u", 230, {}, CONFIG, True)
    assert places(windows) == {
        "100": [(0, 100), (50, 100), (100, 100), (130, 100)],
        "200": [(0, 200), (30, 200)],
        "300": [(0, 230)],  # shorter than 3 s: the utterance itself
        "full": [(0, 230)],
    }
    assert [w.id for w in distinct(windows)] == sorted({w.id for own in windows.values() for w in own})
    assert len(distinct(windows)) == 7  # of eight, one is there twice


def test_without_the_full_utterance() -> None:
    windows = curve_windows("u", 200, {}, CONFIG, False)
    assert places(windows) == {"100": [(0, 100), (50, 100), (100, 100)], "200": [(0, 200)], "300": []}


@pytest.mark.parametrize("frames", [1, 19, 20])
def test_what_is_too_short_has_no_window(frames: int) -> None:
    assert bool(distinct(curve_windows("u", frames, {}, CONFIG, True))) is (frames == 20)


def test_windows_of_silence_are_left_out_and_the_full_utterance_is_not() -> None:
    marks = np.zeros(300, np.float32)
    marks[250:] = 1
    windows = curve_windows("u", 300, {"u": marks}, SegmentsConfig(durations=[1.0], hop=1.0, min_speech=0.3), True)
    assert places(windows) == {"100": [(200, 100)], "full": [(0, 300)]}


@settings(deadline=None, max_examples=100)
@given(
    frames=st.integers(20, 700),
    durations=st.lists(st.sampled_from([0.2, 0.37, 1.0, 2.0, 3.0]), min_size=1, max_size=4),
    hop=st.sampled_from([0.01, 0.13, 0.5, 1.0, 4.0]),
    full=st.booleans(),
)
def test_windows_slide_from_end_to_end(frames: int, durations: list[float], hop: float, full: bool) -> None:
    config = SegmentsConfig(durations=durations, hop=hop, min_speech=0.0)
    windows = curve_windows("u", frames, {}, config, full)
    assert list(windows) == curve_names(config, full)
    for name, own in windows.items():
        length = frames if name == "full" else min(int(name), frames)
        if not own:
            assert not full and int(name) > frames
            continue
        assert own[0].start == 0 and own[-1].start + own[-1].frames == frames
        assert {w.frames for w in own} == {length}
        steps = np.diff([w.start for w in own])
        assert (steps >= 1).all() and (steps <= max(1, round(100 * hop))).all()
    assert len(distinct(windows)) == len({(w.start, w.frames) for own in windows.values() for w in own})


def brute_mean(parts: list[tuple[int, np.ndarray]], frames: int) -> tuple[list[float], list[bool]]:
    values, covered = [], []
    for t in range(frames):
        here = [float(part[t - start]) for start, part in parts if start <= t < start + len(part)]
        values.append(sum(here) / len(here) if here else 0.0)
        covered.append(bool(here))
    return values, covered


@settings(deadline=None, max_examples=60)
@given(frames=st.integers(30, 260), seed=st.integers(0, 1000), missing=st.integers(0, 3))
def test_curves_and_their_fusion_against_loops(frames: int, seed: int, missing: int) -> None:
    """Each curve, and D3 over those that cover a frame; some windows have failed and are not there."""
    generator = np.random.default_rng(seed)
    config = SegmentsConfig(durations=[0.3, 1.0, 2.0], hop=0.25, min_speech=0.3)
    marks = {"u": generator.integers(0, 2, frames).astype(np.float32)}
    windows = curve_windows("u", frames, marks, config, seed % 2 == 0)
    relevance = {w.id: generator.random(w.frames, dtype=np.float32) for w in distinct(windows)}
    for name in list(relevance)[:missing]:
        del relevance[name]
    curves = curves_of(windows, relevance, frames)
    expected = {}
    for name, own in windows.items():
        expected[name] = brute_mean([(w.start, relevance[w.id]) for w in own if w.id in relevance], frames)
    expected = {name: both for name, both in expected.items() if any(both[1])}
    assert set(curves) == set(expected) | ({"fused"} if expected else set())
    for name, (values, covered) in expected.items():
        np.testing.assert_allclose(curves[name].values, values, atol=1e-6)
        assert curves[name].covered.tolist() == covered and curves[name].values.dtype == np.float32
    if not expected:
        return
    for t in range(frames):
        here = [values[t] for values, covered in expected.values() if covered[t]]
        assert abs(curves["fused"].values[t] - (sum(here) / len(here) if here else 0.0)) < 1e-6


def test_fusion_by_hand() -> None:
    first = Curve(np.array([0.2, 0.4, 0.0], np.float32), np.array([True, True, False]))
    second = Curve(np.array([0.6, 0.0, 0.0], np.float32), np.array([True, False, False]))
    fused = fuse([first, second])
    np.testing.assert_allclose(fused.values, [0.4, 0.4, 0.0])
    assert fused.covered.tolist() == [True, True, False]


def test_one_window_is_its_own_curve() -> None:
    window, values = Segment("u", 2, 3), np.array([0.0, 0.5, 1.0], np.float32)
    found = curve_of([window], {window.id: values}, 6)
    assert found.values.tolist() == [0, 0, 0, 0.5, 1, 0] and found.covered.tolist() == [0, 0, 1, 1, 1, 0]
