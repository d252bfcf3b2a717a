"""Segments and masks by k2: `import` of this module fails where k2 does not import.

Runs on Python 3.9, and under every k2 that goes with the installed torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from k2 import DenseFsaVec, Fsa, arc_sort, create_fsa_vec, intersect_dense, shortest_path  # a folder k2 has none

from imlkd.attribution.segmentation.graph import LIMIT, Batch, FloatArray, Graph, Marks, tie_weights

BEST_BEAM = 4.0  # nats below the best path: all that is as good is in it
MASK_BEAM = 20.0  # what lies below does not reach a posterior's sixth digit
ROUNDING = LIMIT * 2.0**-19  # nats a frame, for k2 prunes by sums in single precision
TOGETHER = 1 << 22  # states of a lattice in one call; k2 narrows the beam by itself beyond 15 million
OFF, ON = 1, 2  # labels; 0 is k2's epsilon
NO_PATH = -float(2**60)


@dataclass(frozen=True)
class _Lattice:
    """What is left of some windows' graphs after intersection with their log-odds.

    :param arcs: FsaVec, a FSA a window; its attribute ``place`` is an arc's row among those of all windows.
    :param firsts: row of each window's first frame; a window has a row more than frames.
    """

    windows: list[int]
    arcs: Any
    firsts: list[int]
    rows: int


class K2Backend:
    """Exact on what the beam keeps, and the beam keeps every best path."""

    name = "k2"

    def best(self, batch: Batch) -> list[Marks]:
        """Of the arcs on best paths (there may be several), those with the larger sum of tie weights."""
        found: dict[int, Marks] = {}
        for lattice in _lattices(batch, BEST_BEAM):
            weights = torch.zeros(lattice.rows)
            for i, first in zip(lattice.windows, lattice.firsts):
                own = tie_weights(int(batch.segments[i, 2]))
                weights[first : first + len(own)] = torch.from_numpy(own.astype(np.float32))
            arcs = lattice.arcs
            best = arcs.get_arc_post(use_double_scores=True, log_semiring=False) == 0  # sums on the grid are exact
            ties = torch.where(arcs.labels == ON, weights[arcs.place.long()], torch.zeros(()))
            arcs.scores = torch.where(best, ties, torch.full((), NO_PATH))
            path = shortest_path(arcs, use_double_scores=True)
            marks = np.zeros(lattice.rows, dtype=np.bool_)
            marks[path.place[path.labels == ON].numpy()] = True
            found.update(_split(batch, lattice, marks))
        return [found[i] for i in range(len(batch.segments))]

    def posteriors(self, batch: Batch) -> list[FloatArray]:
        """Sums of arc posteriors, in double precision."""
        found: dict[int, FloatArray] = {}
        for lattice in _lattices(batch, MASK_BEAM):
            arcs = lattice.arcs
            weights = arcs.get_arc_post(use_double_scores=True, log_semiring=True).exp()
            sums = torch.zeros(lattice.rows * 3, dtype=torch.float64)
            cells = 3 * arcs.place.long() + arcs.labels.clamp_min(0).long()  # final arcs fall into column 0
            sums.index_add_(0, cells, weights)
            found.update(_split(batch, lattice, sums.reshape(-1, 3)[:, OFF:].clamp(0.0, 1.0).numpy()))
        return [found[i] for i in range(len(batch.segments))]


def _split(batch: Batch, lattice: _Lattice, rows: Any) -> Iterator[tuple[int, Any]]:
    for i, first in zip(lattice.windows, lattice.firsts):
        yield i, rows[first : first + int(batch.segments[i, 2])].copy()


def _lattices(batch: Batch, beam: float) -> Iterator[_Lattice]:
    """Windows in k2's order (the long ones first), as many as are fit for one call."""
    states = max((graph.on + graph.off for graph in batch.graphs), default=1)
    log_odds = torch.zeros(len(batch.log_odds), max(map(len, batch.log_odds), default=0), 3)
    for row, values in enumerate(batch.log_odds):
        log_odds[row, : len(values), ON] = torch.from_numpy(values.astype(np.float32))
    log_odds[:, :, 0] = -float("inf")  # no epsilon
    fsas = {graph: _fsa_of(graph) for graph in set(batch.graphs)}
    for windows in batch.in_chunks(list(range(len(batch.segments))), TOGETHER, states):
        segments = batch.segments[windows]
        dense = DenseFsaVec(log_odds, torch.from_numpy(segments.astype(np.int32)))
        graphs = create_fsa_vec([fsas[batch.graphs[i]] for i in windows])
        one_each = torch.arange(len(windows), dtype=torch.int32)
        beam_here = beam + ROUNDING * float(segments[:, 2].max())
        arcs = intersect_dense(graphs, dense, beam_here, a_to_b_map=one_each, seqframe_idx_name="place")
        ends = np.cumsum(segments[:, 2] + 1)
        yield _Lattice(windows, arcs, [0, *ends[:-1].tolist()], int(ends[-1]))


def _fsa_of(graph: Graph) -> Any:
    """State 0, a chain a class, the last of each with a loop, and the final state; scores are on the switches."""
    first = {OFF: 1, ON: 1 + graph.off}
    last = {OFF: graph.off, ON: graph.off + graph.on}
    final = graph.off + graph.on + 1
    arcs = []
    for label, other in ((OFF, ON), (ON, OFF)):
        arcs.append((0, first[label], label, 0.0))
        arcs += [(state, state + 1, label, 0.0) for state in range(first[label], last[label])]
        arcs.append((last[label], last[label], label, 0.0))
        arcs.append((last[label], first[other], other, -graph.penalty))
        arcs.append((last[label], final, -1, 0.0))
    lines = [f"{source} {target} {label} {score!r}" for source, target, label, score in sorted(arcs)]
    return arc_sort(Fsa.from_str("\n".join([*lines, str(final)])))
