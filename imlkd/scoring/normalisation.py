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

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    rows: npt.ArrayLike, cohort: npt.ArrayLike, top_k: int | None = None, progress: Progress | None = None
) -> FloatArray:
    """Mean and standard deviation of each row's scores against the cohort, (N, 2), float32.

    :param rows: (N, M), of a back-end's models or tests; ``cohort``: (C, M), of its other side.
    :param top_k: only of that many highest scores a row; None: of all.
    :param progress: counts rows.
    :raises UserError: when ``top_k`` is more than the cohort has.
    """
    left, right = (np.ascontiguousarray(side, dtype=np.float32) for side in (rows, cohort))
    refuse_small(len(right), top_k)
    size = max(1, min(_BLOCK_BYTES // (4 * len(right)), len(left)))
    statistics = np.empty((len(left), 2), dtype=np.float32)
    scores = np.empty((size, len(right)), dtype=np.float32)
    threads = thread_count()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(left), size):
            stop = min(start + size, len(left))
            block = scores[: stop - start]
            np.matmul(left[start:stop], right.T, out=block)
            shares = np.array_split(np.arange(stop - start), threads)
            parts = [(block[s[0] : s[-1] + 1], statistics[start + s[0] : start + s[-1] + 1]) for s in shares if len(s)]
            for done in [pool.submit(_mean_and_std, *part, top_k) for part in parts]:
                done.result()
            if progress is not None:
                progress.update(stop - start)
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


def thread_count() -> int:
    """OMP_NUM_THREADS where that is set, as for the product of matrices, else the cores that this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else len(os.sched_getaffinity(0))


def _mean_and_std(scores: FloatArray, out: FloatArray, top_k: int | None) -> None:
    """Into ``out`` (n, 2) from ``scores`` (n, C), whose order is lost."""
    if top_k is not None and top_k < scores.shape[1]:
        scores.partition(scores.shape[1] - top_k, axis=1)
        scores = scores[:, -top_k:]
    out[:, 0] = scores.mean(axis=1)
    np.subtract(scores, out[:, :1], out=scores)
    out[:, 1] = np.sqrt(np.einsum("nk,nk->n", scores, scores) / scores.shape[1])
