"""Cllr: what a score, read as a log-likelihood ratio, costs over all priors; and its least value, minCllr.

Brummer & du Preez, "Application-independent evaluation of speaker detection" (Computer Speech and Language 2006).
Cllr is 0 for perfect ratios and 1 for a system that says 0 of every trial; it means something for calibrated scores
only. minCllr keeps the order of the scores and replaces them by the best ratios in that order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imlkd.scoring.metrics import Floats, SortedScores


def cllr(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """Cost of natural log-likelihood ratios, in bits.

    :raises ValueError: when a list is empty or holds NaN or infinite scores.
    """
    return cllr_of(SortedScores(target, nontarget))


def cllr_of(scores: SortedScores) -> float:
    """``cllr`` of scores that are sorted already."""
    of_target, of_nontarget = trial_costs(scores.target, True), trial_costs(scores.nontarget, False)
    return float(of_target.mean() + of_nontarget.mean()) / 2.0


def trial_costs(scores: Floats, is_target: bool) -> Floats:
    """Bits that each trial costs; Cllr is the mean of the two kinds' means."""
    costs: Floats = np.logaddexp(0.0, -scores if is_target else scores) / np.log(2.0)
    return costs


def min_cllr(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """Cllr after the best calibration that keeps the scores' order (pool adjacent violators), in bits.

    The blocks of PAV are the segments of the ROC's convex hull (Fawcett & Niculescu-Mizil, "PAV and the ROC convex
    hull", Machine Learning 2007); a block's ratio is its share of the targets over its share of the nontargets.
    """
    return min_cllr_of(SortedScores(target, nontarget))


def min_cllr_of(scores: SortedScores) -> float:
    """``min_cllr`` of scores that are sorted already."""
    vertices = scores.hull
    share = np.abs(np.diff(vertices, axis=0)) / np.abs(vertices[-1] - vertices[0])
    both = share.sum(axis=1, keepdims=True)
    bits = share * np.log2(both / np.where(share > 0.0, share, 1.0), where=share > 0.0, out=np.zeros_like(share))
    return float(bits.sum()) / 2.0
