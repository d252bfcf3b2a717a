"""What the backends share: the graph of two classes, and windows of log-odds on a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

LIMIT = 32.0  # nats: no frame says more
GRID = 4096  # steps a nat: sums over frames are exact in both backends, and so are ties
LONGEST = (1 << 21) - 1  # frames: with more, the sums of NumpyBackend leave 64 bits


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


def tie_weights(frames: int) -> IntArray:
    """(frames,): of paths of equal score the one with the larger sum over its ``on`` frames wins.

    So more frames win, and earlier ones. Beyond 16,383 frames the weights are coarser, to keep sums within 64 bits.
    """
    size = frames.bit_length()
    return np.arange(frames, 0, -1) >> max(0, 3 * size - 43)
