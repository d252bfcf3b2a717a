"""Contiguous segments of a class from frame log-odds: speech, or what carries the speaker.

Two classes, ``off`` and ``on``, each a chain of as many states as its minimum duration, the last with a loop, and a
penalty on each switch between them. The best path gives segments, forward-backward a soft mask. docs/method.md has the
graph. Two backends compute the same: ``numpy``, always there, and ``k2`` (folder ``segmentation``).

This module and that folder run on Python 3.9 too and need numpy alone, so that k2's own environment
(local/setup_k2.sh) can import them.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imlkd.attribution.segmentation.graph import Batch, FloatArray, Graph, Marks, batch_of
from imlkd.attribution.segmentation.numpy_backend import NumpyBackend
from imlkd.errors import UserError

BACKENDS = ("auto", "k2", "numpy")


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
        from imlkd.attribution.segmentation.k2_backend import K2Backend

        return K2Backend()
    except (ImportError, OSError) as error:
        if name == "auto":
            return NumpyBackend()
        from imlkd.attribution.segmentation.k2_lane import K2Lane, lane_python

        python = lane_python()
        if python is None:
            said = str(error).strip().splitlines()
            raise UserError(
                f"backend k2: k2 does not import ({said[0] if said else 'no reason given'}) and has no environment of"
                " its own: local/setup_k2.sh makes it; or take `backend: numpy`, the results are the same"
            ) from error
        return K2Lane(python)


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
