"""Linear discriminant analysis and length normalisation, the usual way from embeddings to a PLDA."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.scoring.metrics import Floats
from imlkd.scoring.plda import SpeakerStatistics

FLOOR = 1e-6  # of the largest within-speaker variance, as Kaldi's --covariance-floor


def fit_lda(statistics: SpeakerStatistics, dim: int) -> Floats:
    """LDA as an affine map (``dim``, D + 1), the last column being the offset: Kaldi's ``transform.mat``.

    After it the mean is 0, the within-speaker covariance the unit matrix and the covariance of the speakers' means
    diagonal, largest first (each speaker weighs as many utterances as it has), as in ``ivector-compute-lda``.

    :raises UserError: when speakers or utterances are too few for ``dim``; the message gives the largest possible one.
    """
    speakers, full = statistics.means.shape
    utterances = int(statistics.counts.sum())
    if dim > statistics.largest_dim:
        raise UserError(
            f"LDA to {dim} dimensions is impossible with {speakers} speakers, {utterances} utterances and embeddings "
            f"of {full} dimensions: at most {max(statistics.largest_dim, 0)} (--lda-dim)"
        )
    mean = statistics.counts @ statistics.means / utterances
    centred = statistics.means - mean
    between = (centred * statistics.counts[:, None]).T @ centred / utterances
    variances, axes = np.linalg.eigh(statistics.scatter / utterances)
    if variances[-1] <= 0.0:
        raise UserError("the embeddings of each speaker are all the same: LDA needs several different ones a speaker")
    whiten = (axes / np.sqrt(np.maximum(variances, FLOOR * variances[-1]))).T
    _, directions = np.linalg.eigh(whiten @ between @ whiten.T)
    linear = directions[:, ::-1][:, :dim].T @ whiten
    return np.concatenate([linear, -(linear @ mean)[:, None]], axis=1)


def apply_affine(transform: Floats, vectors: npt.ArrayLike) -> Floats:
    """Map (N, D) vectors by a (d, D) or, with an offset in its last column, (d, D + 1) matrix, as ``transform-vec``."""
    data = np.asarray(vectors, dtype=np.float64)
    columns, dim = transform.shape[1], data.shape[1]
    if columns == dim + 1:
        return data @ transform[:, :-1].T + transform[:, -1]
    if columns != dim:
        raise UserError(f"a transform of {columns} columns does not fit embeddings of {dim} dimensions: wrong model?")
    return data @ transform.T


def length_normalised(vectors: Floats) -> Floats:
    """(N, D), each of length sqrt(D) as Kaldi's ``ivector-normalize-length`` makes them; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scale: Floats = np.divide(np.sqrt(vectors.shape[1]), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return vectors * scale
