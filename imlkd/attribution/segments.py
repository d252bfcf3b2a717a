"""Contiguous segments of a class from frame log-odds: speech, or what carries the speaker.

Two classes, ``off`` and ``on``, each a chain of as many states as its minimum duration, the last with a loop, and a
penalty on each switch between them. The best path gives segments, forward-backward a soft mask. docs/method.md has the
graph. Two backends compute the same: ``numpy``, always there, and ``k2`` (k2_backend.py).

This module and the two it calls run on Python 3.9 too and need numpy alone, so that k2's own environment
(local/setup_k2.sh) can import them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

BACKENDS = ("auto", "k2", "numpy")
LIMIT = 32.0  # nats: no frame says more
GRID = 4096  # steps a nat: sums over frames are exact in both backends, and so are ties
LONGEST = (1 << 21) - 1  # frames: with more, the sums of NumpyBackend leave 64 bits
TOGETHER = 1 << 20  # cells of a table that is in memory at once
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Graph:
    """The two chains.

    :param on: minimum duration of a segment, in frames.
    :param off: minimum duration of what lies between segments, in frames.
    :param penalty: nats that each switch costs.
    """

    on: int
    off: int
    penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.on < 1 or self.off < 1 or not 0 <= self.penalty <= LIMIT:
            raise ValueError(f"{self}: minimum durations are 1 or more, the penalty is 0 to {LIMIT:g}")

    def within(self, frames: int) -> Graph:
        """In a window that is shorter than a minimum duration, that class may still fill the window."""
        return Graph(min(self.on, frames), min(self.off, frames), round(self.penalty * GRID) / GRID)


@dataclass(frozen=True)
class Batch:
    """Windows of sequences, each with its graph.

    :param log_odds: a (T,) array a sequence, nats in favour of ``on``.
    :param segments: (W, 3), rows of sequence, first frame and number of frames: k2's ``supervision_segments``.
    :param graphs: one a window, cut to it.
    """

    log_odds: list[FloatArray]
    segments: IntArray
    graphs: list[Graph]

    def window(self, index: int) -> FloatArray:
        """Log-odds of a window."""
        sequence, start, frames = self.segments[index]
        own: FloatArray = self.log_odds[sequence][start : start + frames]
        return own

    def in_chunks(self, windows: list[int], cells: int, width: int) -> Iterator[list[int]]:
        """The long windows first, in chunks of at most ``cells`` cells: (longest window + 1) * width * windows."""
        order = sorted(windows, key=lambda i: -int(self.segments[i, 2]))
        while order:
            count = max(1, cells // (width * (int(self.segments[order[0], 2]) + 1)))
            yield order[:count]
            order = order[count:]


class Backend(Protocol):
    """What computes segments and masks."""

    name: str

    def best(self, batch: Batch) -> list[Marks]:
        """Frames of ``on`` on the best path, a (frames,) array a window."""

    def posteriors(self, batch: Batch) -> list[FloatArray]:
        """Posteriors of ``off`` and ``on``, a (frames, 2) array a window."""


@cache
def get_backend(name: str = "auto") -> Backend:
    """``numpy``; ``k2``, imported here or, where it cannot be, in its own environment; ``auto``: k2 if it imports here.

    :raises UserError: for ``k2`` where neither is to be had.
    """
    if name not in BACKENDS:
        raise ValueError(f"{name}: a backend is one of {', '.join(BACKENDS)}")
    if name == "numpy":
        return NumpyBackend()
    try:  # a k2 of another Python or torch is found, and does not import
        from imlkd.attribution.k2_backend import K2Backend

        return K2Backend()
    except (ImportError, OSError) as error:
        if name == "auto":
            return NumpyBackend()
        from imlkd.attribution.k2_lane import K2Lane, lane_python

        python = lane_python()
        if python is None:
            said = str(error).strip().splitlines()
            raise UserError(
                f"backend k2: k2 does not import ({said[0] if said else 'no reason given'}) and has no environment of"
                " its own: local/setup_k2.sh makes it; or take `backend: numpy`, the results are the same"
            ) from error
        return K2Lane(python)


def batch_of(
    log_odds: Sequence[npt.ArrayLike],
    graph: Graph | Sequence[Graph],
    supervision_segments: npt.ArrayLike | None = None,
) -> Batch:
    """Check, and put log-odds on the grid: cut to +-32 nats, rounded to 1/4096.

    :param log_odds: a (T,) array a sequence; infinite values are cut, too.
    :param graph: one for all windows, or one a window.
    :param supervision_segments: (W, 3) rows of sequence, first frame, frames, in any order, overlapping or not;
        without it each sequence is a window.
    :raises ValueError: for NaN, and for windows that do not lie in their sequence.
    """
    sequences = [np.asarray(one, dtype=np.float64) for one in log_odds]
    if any(one.ndim != 1 or np.isnan(one).any() for one in sequences):
        raise ValueError("log-odds: expected vectors without NaN")
    sequences = [np.rint(np.clip(one, -LIMIT, LIMIT) * GRID) / GRID for one in sequences]
    if supervision_segments is None:
        supervision_segments = [(i, 0, len(one)) for i, one in enumerate(sequences)]
    segments = np.asarray(supervision_segments, dtype=np.int64).reshape(-1, 3)
    for sequence, start, frames in segments:
        if not (0 <= sequence < len(sequences) and 0 <= start and 0 < frames <= LONGEST):
            raise ValueError(f"window {sequence, start, frames}: no such sequence, empty, or over {LONGEST} frames")
        if start + frames > len(sequences[sequence]):
            raise ValueError(f"window {sequence, start, frames}: the sequence has {len(sequences[sequence])} frames")
    graphs = [graph] * len(segments) if isinstance(graph, Graph) else list(graph)
    if len(graphs) != len(segments):
        raise ValueError(f"{len(graphs)} graphs for {len(segments)} windows")
    return Batch(sequences, segments, [one.within(int(row[2])) for one, row in zip(graphs, segments)])


def runs_of(marks: Marks) -> list[tuple[int, int]]:
    """First frame, and the frame behind the last, of each run of marked frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(marks, dtype=np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def speech_marks(
    log_odds: npt.ArrayLike, speech: int, silence: int, penalty: float, backend: str
) -> npt.NDArray[np.float32]:
    """1.0 in speech segments of ``speech`` frames or more, 0.0 in silence of ``silence`` or more; (T,) both."""
    return get_backend(backend).best(batch_of([log_odds], Graph(speech, silence, penalty)))[0].astype(np.float32)


def evidence_log_odds(relevance: npt.ArrayLike, level: float = 1.0) -> FloatArray:
    """log(a_t / (level * mean a)), (T,): the frame's share of the relevance against an equal share; no relevance: -inf.

    Relevance that is 0 everywhere is evidence nowhere.
    """
    values = np.asarray(relevance, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.log(values) - np.log(level * values.mean()) if values.any() else np.full(values.shape, -np.inf)


def tie_weights(frames: int) -> IntArray:
    """(frames,): of paths of equal score the one with the larger sum over its ``on`` frames wins.

    So more frames win, and earlier ones. Beyond 16,383 frames the weights are coarser, to keep sums within 64 bits.
    """
    size = frames.bit_length()
    return np.arange(frames, 0, -1) >> max(0, 3 * size - 43)


class NumpyBackend:
    """Recursions over the boundaries between frames, all windows of a graph side by side."""

    name = "numpy"

    def best(self, batch: Batch) -> list[Marks]:
        """Viterbi in integers: exact. An integer is steps of the grid, shifted, plus a sum of ``tie_weights``."""
        found: dict[int, Marks] = {}
        for graph, windows in _alike(batch):
            shifts = [_tie_bits(int(batch.segments[i, 2])) for i in windows]
            frames = [_packed(batch.window(i), shift) for i, shift in zip(windows, shifts)]
            penalty = np.array([round(graph.penalty * GRID) << shift for shift in shifts], dtype=np.int64)[:, None]
            tables = _recursion(_running_sums(frames), graph, penalty, np.maximum, NEVER)
            for row, i in enumerate(windows):
                found[i] = _trace(tables, row, len(frames[row]), graph)
        return [found[i] for i in range(len(batch.segments))]

    def posteriors(self, batch: Batch) -> list[FloatArray]:
        """Forward-backward in double precision; backward is forward from the other end."""
        found: dict[int, FloatArray] = {}
        for graph, windows in _alike(batch):
            frames = [batch.window(i) for i in windows]
            mirrored = [one[::-1] for one in frames]
            forward, backward = (
                _recursion(_running_sums(ordered), graph, graph.penalty, np.logaddexp, -np.inf)
                for ordered in (frames, mirrored)
            )
            for row, i in enumerate(windows):
                found[i] = _posteriors(forward, backward, row, len(frames[row]))
        return [found[i] for i in range(len(batch.segments))]


def _alike(batch: Batch) -> Iterator[tuple[Graph, list[int]]]:
    """Windows of one graph, as many as fit in memory."""
    groups: dict[Graph, list[int]] = {}
    for i, graph in enumerate(batch.graphs):
        groups.setdefault(graph, []).append(i)
    for graph, windows in groups.items():
        for chunk in batch.in_chunks(windows, TOGETHER, 1):
            yield graph, chunk


def _tie_bits(frames: int) -> int:
    """Bits that the sum of ``tie_weights`` fits in."""
    size = frames.bit_length()
    return size + min(size, max(0, 43 - 2 * size))


def _packed(log_odds: FloatArray, shift: int) -> IntArray:
    steps: IntArray = np.rint(log_odds * GRID).astype(np.int64)
    return (steps << shift) + tie_weights(len(log_odds))


def _running_sums(frames: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """(W, T + 1): sums of what lies before each boundary; windows that are shorter than the longest go on with 0."""
    padded = np.zeros((len(frames), max(map(len, frames)) + 1), dtype=frames[0].dtype)
    for row, values in enumerate(frames):
        padded[row, 1 : len(values) + 1] = values
    sums: npt.NDArray[Any] = padded.cumsum(axis=1)
    return sums


@dataclass(frozen=True)
class _Tables:
    """For ``off`` and ``on`` an array (W, T + 1) over boundaries each.

    :param sums: running sums of what a frame of this class adds: nothing, or its log-odds.
    :param starts: weight of all that comes before a segment that begins here, less ``sums``.
    :param ends: weight of all up to a segment that ends here.
    """

    sums: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    starts: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    ends: tuple[npt.NDArray[Any], npt.NDArray[Any]]


def _recursion(sums: npt.NDArray[Any], graph: Graph, penalty: Any, add: np.ufunc, never: float) -> _Tables:
    """Viterbi (``add`` = maximum) or forward (logaddexp).

    A segment from s to t adds ``sums[t] - sums[s]``, so a chain of D states does no more than hold back what begins at
    s until s + D, and a loop is a running maximum or sum over all s up to t - D. Within a block as long as the smaller
    minimum duration nothing depends on the block itself: it is computed at once.
    """
    totals, minimum = (np.zeros_like(sums), sums), (graph.off, graph.on)
    starts, ends, running = (tuple(np.full_like(sums, never) for _ in range(2)) for _ in range(3))
    for c in (0, 1):
        starts[c][:, 0] = running[c][:, 0] = 0
    step, boundaries = min(minimum), sums.shape[1]
    for first in range(1, boundaries, step):
        stop = min(first + step, boundaries)
        for c in (0, 1):
            here = slice(max(first, minimum[c]), stop)
            if here.start < stop:
                held_back = running[c][:, here.start - minimum[c] : stop - minimum[c]]
                ends[c][:, here] = held_back + totals[c][:, here]
                starts[1 - c][:, here] = ends[c][:, here] - penalty - totals[1 - c][:, here]
        for c in (0, 1):
            add(running[c][:, first - 1, None], add.accumulate(starts[c][:, first:stop], axis=1),
                out=running[c][:, first:stop])  # fmt: skip
    return _Tables(totals, (starts[0], starts[1]), (ends[0], ends[1]))


def _trace(tables: _Tables, row: int, frames: int, graph: Graph) -> Marks:
    """From the last boundary to the first, a segment at a time."""
    marks = np.zeros(frames, dtype=np.bool_)
    minimum = (graph.off, graph.on)
    end, c = frames, int(tables.ends[1][row, frames] > tables.ends[0][row, frames])
    while end > 0:
        start = int(tables.starts[c][row, : end - minimum[c] + 1].argmax())
        marks[start:end] = bool(c)
        end, c = start, 1 - c
    return marks


def _posteriors(forward: _Tables, backward: _Tables, row: int, frames: int) -> FloatArray:
    """(frames, 2): how many segments of a class have begun up to a frame, less how many have ended."""
    total = np.logaddexp(forward.ends[0][row, frames], forward.ends[1][row, frames])
    found = np.empty((frames, 2))
    for c in (0, 1):
        (begin, end), (begin_back, end_back) = (
            [(one.starts[c][row] + one.sums[c][row])[: frames + 1], one.ends[c][row, : frames + 1]]
            for one in (forward, backward)
        )
        begun, ended = np.exp(begin + end_back[::-1] - total), np.exp(end + begin_back[::-1] - total)
        found[:, c] = np.cumsum(begun - ended)[:frames]
    return found.clip(0.0, 1.0)
