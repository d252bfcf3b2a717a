"""Relevance over whole utterances: windows of each duration slide by a hop, and the curves of all durations are fused.

A curve's name is its window's length in frames of 10 ms (``100``), or ``full`` for the utterance as one window;
``fused`` is the mean of the others (methods D1 and D3 of docs/method.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment, SegmentsConfig, Speech, speech_share
from imlkd.kaldi_io import FloatArray

FULL, FUSED = "full", "fused"
SHORTEST = 20  # frames: no window, the full utterance included, is shorter


def curve_names(config: SegmentsConfig, full: bool) -> list[str]:
    """Names of the curves that windows give, short durations first; ``fused`` is not among them."""
    lengths = sorted({round(seconds * FRAMES_PER_SECOND) for seconds in config.durations})
    return [*map(str, lengths), *([FULL] if full else [])]


def curve_windows(
    utterance: str, frames: int, speech: Speech, config: SegmentsConfig, full: bool
) -> dict[str, list[Segment]]:
    """Windows of each curve of an utterance of ``frames`` frames.

    The last window of a duration ends with the utterance. An utterance that is shorter than a duration is that
    duration's one window, if ``full`` allows it. Windows with too little speech are left out, save the full utterance:
    min-max would make them as loud as any.
    """
    hop = max(1, round(config.hop * FRAMES_PER_SECOND))
    whole = [Segment(utterance, 0, frames)] if full and frames >= SHORTEST else []
    found = {}
    for name in curve_names(config, full):
        if name == FULL or int(name) >= frames:
            exact = name != FULL and int(name) == frames
            windows = whole or ([Segment(utterance, 0, frames)] if exact else [])
        else:
            last = frames - int(name)
            starts = [*range(0, last, hop), last]
            windows = [Segment(utterance, start, int(name)) for start in starts]
            windows = [window for window in windows if speech_share(window, speech) >= config.min_speech]
        found[name] = windows
    return found


def distinct(windows: Mapping[str, list[Segment]], more: Iterable[Segment] = ()) -> list[Segment]:
    """Every window once, in the order of their ids: those that coincide between durations are computed once."""
    return sorted({*more, *(w for own in windows.values() for w in own)}, key=lambda s: s.id.encode())


@dataclass(frozen=True)
class Curve:
    """Relevance of an utterance, a value a frame.

    :param values: (T,) float32 in [0, 1]; 0 where no window lay.
    :param covered: (T,) whether a window lay there.
    """

    values: FloatArray
    covered: npt.NDArray[np.bool_]


def curve_of(windows: Iterable[Segment], relevance: Mapping[str, FloatArray], frames: int) -> Curve:
    """Mean over the windows that cover a frame; windows that ``relevance`` (by id) lacks are passed over."""
    total, count = np.zeros(frames), np.zeros(frames, dtype=np.int64)
    for window in windows:
        if window.id in relevance:
            place = slice(window.start, window.start + window.frames)
            total[place] += relevance[window.id]
            count[place] += 1
    return Curve((total / np.maximum(count, 1)).astype(np.float32), count > 0)


def fuse(curves: Iterable[Curve]) -> Curve:
    """D3: the mean over the durations whose curve covers a frame."""
    listed = list(curves)
    count = np.sum([curve.covered for curve in listed], axis=0)
    total = np.sum([np.where(curve.covered, curve.values, 0.0) for curve in listed], axis=0, dtype=np.float64)
    return Curve((total / np.maximum(count, 1)).astype(np.float32), count > 0)


def curves_of(
    windows: Mapping[str, list[Segment]], relevance: Mapping[str, FloatArray], frames: int
) -> dict[str, Curve]:
    """Each duration's curve and ``fused``; a duration none of whose windows is in ``relevance`` is left out."""
    curves = {name: curve_of(own, relevance, frames) for name, own in windows.items()}
    curves = {name: curve for name, curve in curves.items() if curve.covered.any()}
    return curves | ({FUSED: fuse(curves.values())} if curves else {})
