"""Adapt a PLDA to embeddings of another domain whose speakers nobody knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.scoring.metrics import Floats
from imlkd.scoring.plda import Plda

METHODS = ("kaldi", "coral")


def adapt_kaldi(
    plda: Plda,
    vectors: npt.ArrayLike,
    within_scale: float = 0.3,
    between_scale: float = 0.7,
    mean_diff_scale: float = 1.0,
) -> Plda:
    """As Kaldi's ``ivector-adapt-plda``: widen the model along directions in which the new domain varies more.

    Along each eigenvector of the new covariance, taken where the model's own total covariance is the unit matrix, the
    part of the eigenvalue above 1 is shared out to W and B. The mean becomes that of ``vectors``.

    :param vectors: (N, D), N > 1, after whatever precedes the PLDA.
    :param within_scale: share of W, of B ``between_scale``; Kaldi's defaults.
    :param mean_diff_scale: weight of the difference of the means when it is counted as variance.
    """
    data = _checked(plda, vectors)
    mean = data.mean(axis=0)
    moved = mean - plda.mean
    variance = np.cov(data.T, bias=True).reshape(plda.dim, plda.dim) + mean_diff_scale * np.outer(moved, moved)
    unit = plda.transform / np.sqrt(1.0 + plda.psi)[:, None]  # the model's total covariance is 1 after it
    eigenvalues, axes = np.linalg.eigh(unit @ variance @ unit.T)
    excess = np.maximum(eigenvalues - 1.0, 0.0)
    directions = np.linalg.inv(unit) @ axes
    widening = (directions * excess) @ directions.T
    within, between = plda.covariances()
    return Plda.from_covariances(mean, within + within_scale * widening, between + between_scale * widening)


def adapt_coral(plda: Plda, vectors: npt.ArrayLike) -> Plda:
    """CORAL on the model: W and B are mapped so that the total covariance becomes that of the new domain.

    The map is A = T^(1/2) S^(-1/2) with S the model's total covariance and T that of ``vectors`` (Sun, Feng & Saenko,
    "Return of frustratingly easy domain adaptation", AAAI 2016, on the features; Lee, Wang & Koshinaka, "The CORAL+
    algorithm", ICASSP 2019, section 3, on the model). The mean becomes that of ``vectors``.

    :param vectors: (N, D), after whatever precedes the PLDA.
    :raises UserError: when they are too few for a covariance of full rank.
    """
    data = _checked(plda, vectors)
    if len(data) <= plda.dim:
        raise UserError(
            f"{len(data)} embeddings have no covariance of full rank in {plda.dim} dimensions: CORAL needs more than "
            f"{plda.dim}; give more, or adapt with --method kaldi"
        )
    within, between = plda.covariances()
    colour = coral_transform(within + between, np.cov(data.T, bias=True).reshape(plda.dim, plda.dim))
    return Plda.from_covariances(data.mean(axis=0), colour @ within @ colour.T, colour @ between @ colour.T)


def coral_transform(source: Floats, target: Floats) -> Floats:
    """(D, D): maps vectors of covariance ``source`` to such of covariance ``target``, by symmetric square roots."""
    return _power(target, 0.5) @ _power(source, -0.5)


def _power(covariance: Floats, exponent: float) -> Floats:
    eigenvalues, axes = np.linalg.eigh(covariance)
    if eigenvalues[0] <= 1e-10 * eigenvalues[-1]:
        raise UserError(
            f"a covariance of {len(covariance)} dimensions is singular: CORAL needs embeddings that vary in all of "
            "them; reduce them by LDA (--lda-dim), or adapt with --method kaldi"
        )
    power: Floats = (axes * eigenvalues**exponent) @ axes.T
    return power


def _checked(plda: Plda, vectors: npt.ArrayLike) -> Floats:
    data = np.asarray(vectors, dtype=np.float64)
    if data.ndim != 2 or data.shape[1] != plda.dim:
        raise UserError(f"embeddings of shape {data.shape[1:]} do not fit a PLDA of {plda.dim} dimensions")
    if len(data) < 2:
        raise UserError(f"{len(data)} embedding is no domain: give the adaptation set's, hundreds at least")
    return data
