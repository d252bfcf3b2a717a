"""Score normalisation by a cohort: Z, T, S and adaptive S norm.

With s the score of a trial, and mean and standard deviation (of the population, as numpy takes it) of the scores of one
side against the cohort:

- ``z``: (s - mean) / std of the enrolment side; ``t``: of the test side (Auckenthaler, Carey & Lloyd-Thomas, Digital
  Signal Processing 2000);
- ``s``: the mean of the two (Kenny, Odyssey 2010);
- ``as``: as ``s``, each side against the ``top_k`` members of the cohort that score highest with it (Matejka et al.,
  "Analysis of score normalization in multilingual speaker recognition", Interspeech 2017, AS-norm 1).

Every back-end scores by an inner product of two rows, so scores against a cohort are a product of matrices. It is made
in blocks of rows, and the best of each row are taken by partition: no matrix of all utterances and the cohort is ever
there, and none is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.progress import Progress
from imlkd.scoring.metrics import Floats, Integers

NORMS = ("none", "z", "t", "s", "as")
TOP_K = 300
_BLOCK_BYTES = 6 * 2**20  # of scores: what the last-level cache of a core holds, with room for the rest


def cohort_statistics(
    rows: npt.ArrayLike,
    cohort: npt.ArrayLike,
    top_k: int | None = None,
    dot_rows: Callable[[npt.NDArray[Any]], FloatArray] | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> FloatArray:
    """Mean and standard deviation of each row's scores against the cohort, (N, 2), float32.

    :param rows: (N, M), of a back-end's models or tests.
    :param cohort: (C, M), of the back-end's other side, after its ``dot_rows``.
    :param top_k: only of that many highest scores a row; None: of all.
    :param dot_rows: the back-end's, applied to each block of ``rows``; None: they are such rows already.
    :param progress: counts rows.
    :param workers: threads that take a block each. More than one pays when the product of matrices itself has one
        thread (OPENBLAS_NUM_THREADS=1 before numpy is loaded); no result depends on it.
    :raises UserError: when ``top_k`` is more than the cohort has.
    """
    left, right = np.asarray(rows), np.ascontiguousarray(cohort, dtype=np.float32)
    refuse_small(len(right), top_k)
    size = max(1, min(_BLOCK_BYTES // (4 * len(right)), len(left)))
    statistics = np.empty((len(left), 2), dtype=np.float32)
    starts = range(0, len(left), size)

    def work(own: range) -> Iterator[int]:
        scores = np.empty((size, len(right)), dtype=np.float32)
        for start in own:
            part = left[start : start + size]
            part = (part if dot_rows is None else dot_rows(part)).astype(np.float32, copy=False)
            block = scores[: len(part)]
            np.matmul(part, right.T, out=block)
            _mean_and_std(block, statistics[start : start + size], top_k)
            yield len(part)

    for done in _in_threads([work(starts[worker::workers]) for worker in range(workers)]):
        if progress is not None:
            progress.update(done)
    return statistics


def refuse_small(members: int, top_k: int | None, place: Path | str = "the cohort") -> None:
    """UserError when a cohort of so many members, read at ``place``, has not the ``top_k`` (or the two) it needs."""
    if members < max(top_k or 2, 2):
        wanted = "2" if top_k is None else f"the {top_k} of --top-k"
        raise UserError(f"{place}: has {members} members, fewer than {wanted}: take a larger one or a smaller --top-k")


def normalise(
    scores: Floats,
    norm: str,
    enroll: tuple[FloatArray, Integers] | None = None,
    test: tuple[FloatArray, Integers] | None = None,
) -> Floats:
    """Normalise ``scores`` (T,).

    :param norm: one of ``NORMS``.
    :param enroll: statistics of the enrolment side, (E, 2), and the row of each trial, (T,); needed for z, s and as.
    :param test: likewise of the test side; needed for t, s and as.
    """
    sides = {"none": [], "z": [enroll], "t": [test], "s": [enroll, test], "as": [enroll, test]}[norm]
    total = np.zeros(len(scores))
    for side in sides:
        assert side is not None
        mean, std = side[0].astype(np.float64).T
        total += (scores - mean[side[1]]) / std[side[1]]
    return total / len(sides) if sides else scores


def _mean_and_std(scores: FloatArray, out: FloatArray, top_k: int | None) -> None:
    """Into ``out`` (n, 2) from ``scores`` (n, C), whose order is lost."""
    if top_k is not None and top_k < scores.shape[1]:
        scores = _best(scores, top_k)
    out[:, 0] = scores.mean(axis=1)
    np.subtract(scores, out[:, :1], out=scores)
    out[:, 1] = np.sqrt(np.einsum("nk,nk->n", scores, scores) / scores.shape[1])


def _best(scores: FloatArray, top_k: int) -> FloatArray:
    """The ``top_k`` highest of each row, (n, top_k), in no order; ``scores`` (n, C), contiguous, loses its own.

    Bits of floats from 0 up, read as integers, have the floats' order, and those of negative ones lie below; numpy
    partitions integers twice as fast, for it need not look for NaN. A row with a negative value among its best is
    partitioned once more, as floats.
    """
    first = scores.shape[1] - top_k
    scores.view(np.int32).partition(first, axis=1)
    best = scores[:, first:]
    wrong = np.flatnonzero((best.view(np.int32) < 0).any(axis=1))
    if len(wrong):
        best[wrong] = np.partition(scores[wrong], first, axis=1)[:, first:]
    return best


def _in_threads(shares: list[Iterator[int]]) -> Iterator[int]:
    """What ``shares`` yield, each drawn by a thread of its own, as it comes."""
    if len(shares) == 1:
        yield from shares[0]
        return
    with ThreadPoolExecutor(len(shares)) as pool:
        owner = {pool.submit(next, share, 0): share for share in shares}
        while owner:
            ready, _ = wait(owner, return_when=FIRST_COMPLETED)
            for future in ready:
                share = owner.pop(future)
                if done := future.result():
                    owner[pool.submit(next, share, 0)] = share
                    yield done
