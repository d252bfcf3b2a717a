"""Segments and masks by numpy alone: recursions over the boundaries between frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.attribution.segmentation.graph import GRID, Batch, FloatArray, Graph, IntArray, Marks, tie_weights

TOGETHER = 1 << 20  # cells of a table that is in memory at once
NEVER = np.iinfo(np.int64).min


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
