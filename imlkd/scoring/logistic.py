"""Prior-weighted logistic regression by Newton's method (iteratively re-weighted least squares)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imlkd.scoring.metrics import Floats

_ITERATIONS = 100
_SMALLEST_GRADIENT = 1e-10
_FLAT = 1e-8
_RESOLUTION = 1e-14
"""Relative: a loss that rises by less is the same loss, and a step is not shortened for it."""


class Separable(Exception):
    """Targets and nontargets can be told apart without error, so that no finite weights are best."""


def fit_logistic(features: Floats, is_target: npt.NDArray[np.bool_], p_target: float) -> tuple[Floats, float]:
    """Weights (F,) and offset of a log-likelihood ratio that is linear in ``features`` (T, F).

    They minimise the cross-entropy at the prior ``p_target``: targets weigh ``p_target`` in sum and nontargets the
    rest, whatever their numbers (Brummer & du Preez, "Application-independent evaluation of speaker detection",
    Computer Speech & Language 2006; van Leeuwen & Brummer, Interspeech 2013).

    :raises Separable: when a plane separates the two kinds.
    :raises ValueError: when a feature is constant.
    """
    middle, spread = features.mean(axis=0), features.std(axis=0)
    if (spread <= 1e-9 * np.maximum(np.abs(middle), 1e-30)).any():
        raise ValueError("a constant feature")
    design = np.hstack([(features - middle) / spread, np.ones((len(features), 1))])
    side = np.where(is_target, 1.0, -1.0)
    share = np.where(is_target, p_target / is_target.sum(), (1.0 - p_target) / (~is_target).sum())
    weights = _newton(design, side, share, float(np.log(p_target / (1.0 - p_target))))
    scale = weights[:-1] / spread
    return scale, float(weights[-1] - scale @ middle)


def cross_entropy(llr: Floats, is_target: npt.NDArray[np.bool_], p_target: float = 0.5) -> float:
    """Cross-entropy (bits) of log-likelihood ratios (T,) at the prior ``p_target``; at 0.5 it is Cllr."""
    side = np.where(is_target, 1.0, -1.0)
    share = np.where(is_target, p_target / is_target.sum(), (1.0 - p_target) / (~is_target).sum())
    return float(share @ np.logaddexp(0.0, -side * (llr + np.log(p_target / (1.0 - p_target)))) / np.log(2.0))


def _newton(design: Floats, side: Floats, share: Floats, logit: float) -> Floats:
    """Minimise sum share * log(1 + exp(-side * (design @ weights + logit))), halving steps that overshoot."""

    def loss_at(weights: Floats) -> float:
        return float(share @ np.logaddexp(0.0, -side * (design @ weights + logit)))

    weights = np.zeros(design.shape[1])
    loss = loss_at(weights)
    for _ in range(_ITERATIONS):
        margin = side * (design @ weights + logit)
        if (margin > 0.0).all():
            raise Separable
        wrong = np.exp(-np.logaddexp(0.0, margin))  # probability of the other kind
        gradient = design.T @ (share * side * wrong)
        curvature = share * wrong * (1.0 - wrong)
        hessian = (design * curvature[:, None]).T @ design
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        if np.abs(gradient).max() < _SMALLEST_GRADIENT:
            if _flatness(hessian) < _FLAT * _flatness(design.T @ design):
                raise Separable  # but for ties: the loss still falls, ever more slowly, along some direction
            return weights
        size = 1.0
        while loss_at(weights + size * step) > loss * (1.0 + _RESOLUTION) and size > 1e-10:
            size *= 0.5
        weights = weights + size * step
        loss = loss_at(weights)
    raise Separable


def _flatness(matrix: Floats) -> float:
    """The smallest eigenvalue over the largest."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    return float(eigenvalues[0] / eigenvalues[-1])
