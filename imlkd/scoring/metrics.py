"""Error rates of a verification system from its target and nontarget scores.

A trial is accepted when its score is at least the threshold. Trials with equal scores are accepted or rejected
together, so a tie is one step of the ROC. All rates are fractions (0 to 1).

Three equal error rates are in use; on distinct scores they differ by up to one over the number of targets:
``eer`` (the crossing on the linearly interpolated ROC; the headline of every table here, as in WeSpeaker and
scikit-learn based scripts), ``eer_kaldi`` (what Kaldi's ``compute-eer`` prints) and ``eer_rocch`` (on the ROC's
convex hull, as in BOSARIS; never above ``eer``).

``SortedScores`` has them all for the price of one sort; the functions of the same names take one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class OperatingPoint(NamedTuple):
    """An error measure and the score at which it is reached (inf: reject every trial)."""

    value: float
    threshold: float


class Thresholds(NamedTuple):
    """Every distinct way to split the trials, in order of rising threshold; the first accepts all.

    :param scores: (V,) lowest accepted score; the last is inf: all rejected.
    :param targets_below: (V,) number of rejected target trials.
    :param nontargets_below: (V,) number of rejected nontarget trials.
    """

    scores: Floats
    targets_below: Integers
    nontargets_below: Integers


@dataclass(frozen=True)
class Costs:
    """Operating points: what the two errors cost, and the priors of a target.

    :raises ValueError: for a prior or a cost out of range.
    """

    p_targets: tuple[float, ...] = (0.01, 0.001, 0.05)  # Kaldi's two, and that of VoxSRC
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        for p_target in self.p_targets:
            _check_costs(p_target, self.c_miss, self.c_fa)

    def bayes_threshold(self, p_target: float) -> float:
        """Natural log-likelihood ratio from which accepting is cheaper (NIST SRE 2016 evaluation plan, 3.1)."""
        return float(np.log(self.c_fa * (1.0 - p_target)) - np.log(self.c_miss * p_target))


class SortedScores:
    """Target and nontarget scores, checked and sorted once for all measures of them.

    :param target: (T,) and ``nontarget``: (N,), rising.
    :raises ValueError: when a list is empty or holds NaN or infinite scores.
    """

    def __init__(self, target: npt.ArrayLike, nontarget: npt.ArrayLike) -> None:
        self.target: Floats = np.sort(checked_scores(target, "target"))
        self.nontarget: Floats = np.sort(checked_scores(nontarget, "nontarget"))

    @cached_property
    def thresholds(self) -> Thresholds:
        """What each distinct threshold rejects."""
        both = np.concatenate([self.target, self.nontarget])
        order = np.argsort(both, kind="stable")  # finds the two runs and merges them
        merged = both[order]
        first = np.flatnonzero(np.append(True, merged[1:] != merged[:-1]))
        targets = np.append(0, np.cumsum(order < len(self.target)))
        below = np.append(first, len(merged))
        return Thresholds(np.append(merged[first], np.inf), targets[below], below - targets[below])

    @cached_property
    def corners(self) -> Thresholds:
        """The thresholds at corners of the ROC; see ``corners``."""
        return corners(self.thresholds)

    @cached_property
    def hull(self) -> Integers:
        """Corners of the ROC's convex hull, (H, 2): missed targets, falsely accepted nontargets, from accept-all."""
        outer = self.corners
        return _lower_hull(np.stack([outer.targets_below, len(self.nontarget) - outer.nontargets_below], axis=1))

    def eer(self) -> OperatingPoint:
        """See the function ``eer``."""
        rate, nearest = crossing(*rates_of(self.thresholds))
        return OperatingPoint(rate, _finite_threshold(self.thresholds.scores, nearest))

    def eer_rocch(self) -> float:
        """See the function ``eer_rocch``."""
        return crossing(self.hull[:, 0] / len(self.target), self.hull[:, 1] / len(self.nontarget))[0]

    def eer_kaldi(self) -> OperatingPoint:
        """See the function ``eer_kaldi``."""
        target, nontarget = self.target.astype(np.float32), self.nontarget.astype(np.float32)
        count = len(target)
        rank = np.arange(count - 1)
        partner = len(nontarget) - 1 - len(nontarget) * rank // count
        found = np.flatnonzero(nontarget[partner] < target[:-1])
        position = int(found[0]) if len(found) else count - 1
        return OperatingPoint(position / count, float(target[position]))

    def min_dcf(self, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> OperatingPoint:
        """See the function ``min_dcf``."""
        cost = normalised_cost(*rates_of(self.corners), p_target, c_miss, c_fa)
        best = int(np.argmin(cost))
        return OperatingPoint(float(cost[best]), float(self.corners.scores[best]))

    def act_dcf(self, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> OperatingPoint:
        """See the function ``act_dcf``."""
        threshold = Costs((p_target,), c_miss, c_fa).bayes_threshold(p_target)
        missed, rejected = (np.searchsorted(scores, [threshold]) for scores in (self.target, self.nontarget))
        miss, accepted = missed / len(self.target), len(self.nontarget) - rejected
        cost = normalised_cost(miss, accepted / len(self.nontarget), p_target, c_miss, c_fa)
        return OperatingPoint(float(cost[0]), threshold)


def rates_of(thresholds: Thresholds) -> tuple[Floats, Floats]:
    """Miss and false alarm rates, each (V,)."""
    _, misses, correct_rejections = thresholds
    targets, nontargets = misses[-1], correct_rejections[-1]
    return misses / targets, (nontargets - correct_rejections) / nontargets


def roc_points(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The ROC's corners: miss rates, false alarm rates and thresholds, each (V,), from accept-all to reject-all.

    With straight lines between them they are the whole ROC; normal deviates of the rates make it a DET curve.
    """
    outer = SortedScores(target, nontarget).corners
    return *rates_of(outer), outer.scores


def crossing(miss: Floats, false_alarm: Floats) -> tuple[float, int]:
    """Where a piecewise linear ROC meets miss = false alarm.

    :param miss: (V,), rising from 0 to 1; ``false_alarm``: (V,), falling from 1 to 0.
    :returns: the rate there, and the index of the vertex nearest to it.
    """
    gap = miss - false_alarm
    after = int(np.searchsorted(gap, 0.0, side="left"))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    rate = miss[before] + share * (miss[after] - miss[before])
    return float(rate), after if share >= 0.5 else before


def eer(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> OperatingPoint:
    """Equal error rate by linear interpolation between the ROC's neighbouring points; the headline figure.

    The threshold is that of the ROC point nearest to the crossing.
    """
    return SortedScores(target, nontarget).eer()


def eer_rocch(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> float:
    """Equal error rate on the convex hull of the ROC (Brummer & de Villiers, BOSARIS toolkit, 2011)."""
    return SortedScores(target, nontarget).eer_rocch()


def corners(thresholds: Thresholds) -> Thresholds:
    """Leave out points inside a straight horizontal or vertical run of the ROC.

    Whatever the weights of trials are, such points lie on the line between the run's ends and no cost is least there.
    """
    keep = corner_mask(thresholds)
    return Thresholds(thresholds.scores[keep], thresholds.targets_below[keep], thresholds.nontargets_below[keep])


def corner_mask(thresholds: Thresholds) -> npt.NDArray[np.bool_]:
    """Which points ``corners`` keeps, (V,)."""
    keep = np.ones(len(thresholds.scores), dtype=np.bool_)
    inside = keep[1:-1]
    for below in (thresholds.targets_below, thresholds.nontargets_below):
        inside &= ~((below[:-2] == below[1:-1]) & (below[1:-1] == below[2:]))
    return keep


def eer_kaldi(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> OperatingPoint:
    """The value and threshold of Kaldi's ``compute-eer`` (src/ivectorbin), edge cases included.

    With T targets and N nontargets in rising order: the first i with nontarget[N - 1 - floor(N i / T)] < target[i]
    gives i / T; the last target is never compared. Scores are single precision there, and so they are here.
    """
    return SortedScores(target, nontarget).eer_kaldi()


def format_eer_kaldi(rate: float) -> str:
    """Percent with four significant digits, as ``compute-eer`` prints it (its rate is single precision)."""
    return f"{100.0 * float(np.float32(rate)):.4g}"


def min_dcf(
    target: npt.ArrayLike, nontarget: npt.ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> OperatingPoint:
    """Least normalised detection cost over all thresholds (NIST SRE 2016 evaluation plan, section 3.1).

    Accept-all and reject-all count as thresholds, so the value is at most 1. Kaldi's ``compute_min_dcf.py`` has no
    accept-all point and splits ties, so it can differ where scores tie.

    :param p_target: prior of a target trial, between 0 and 1.
    :raises ValueError: for a prior or a cost out of range.
    """
    return SortedScores(target, nontarget).min_dcf(p_target, c_miss, c_fa)


def act_dcf(
    target: npt.ArrayLike, nontarget: npt.ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> OperatingPoint:
    """Normalised detection cost at Bayes' threshold, for scores that are natural log-likelihood ratios.

    The threshold is log(c_fa (1 - p_target) / (c_miss p_target)) (NIST SRE 2016 evaluation plan, section 3.1).

    :raises ValueError: for a prior or a cost out of range, or scores as in ``SortedScores``.
    """
    return SortedScores(target, nontarget).act_dcf(p_target, c_miss, c_fa)


def normalised_cost(
    miss: Floats, false_alarm: Floats, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> Floats:
    """Detection cost of each point, divided by that of the better blind decision (accept all or reject all)."""
    _check_costs(p_target, c_miss, c_fa)
    miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1.0 - p_target)
    blind = min(miss_weight, false_alarm_weight)
    return miss * (miss_weight / blind) + false_alarm * (false_alarm_weight / blind)


def checked_scores(scores: npt.ArrayLike, name: str) -> Floats:
    """The scores as an array; ValueError when there are none, or NaN or infinite ones."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise ValueError(f"no {name} scores")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} scores hold NaN or infinite values")
    return values


def _check_costs(p_target: float, c_miss: float, c_fa: float) -> None:
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target must lie between 0 and 1, not {p_target}")
    if c_miss <= 0.0 or c_fa <= 0.0:
        raise ValueError(f"costs must be positive, not c_miss={c_miss}, c_fa={c_fa}")


def _finite_threshold(scores: Floats, index: int) -> float:
    return float(scores[min(index, len(scores) - 2)])


def _lower_hull(points: Integers) -> Integers:
    """Convex hull below (V, 2) ``points``, which run to the right and down (Andrew's monotone chain).

    A point on or above the line between its neighbours is no corner, so all such points go at once, for as long as
    that takes a tenth of what is left.
    """
    before = 2 * len(points)
    while 2 < len(points) <= 0.9 * before:
        before = len(points)
        turns = _turn(points[:-2].T, points[1:-1].T, points[2:].T)
        points = points[np.concatenate([[True], turns > 0, [True]])]
    hull: list[list[int]] = []
    for x, y in points.tolist():
        while len(hull) >= 2 and _turn(hull[-2], hull[-1], (x, y)) <= 0:
            hull.pop()
        hull.append([x, y])
    return np.array(hull)


def _turn(first: Any, second: Any, third: Any) -> Any:
    """Above zero where the way over three points (x, y) turns to the left; of numbers, or of arrays of them."""
    (x1, y1), (x2, y2), (x3, y3) = first, second, third
    return (x2 - x1) * (y3 - y1) - (y2 - y1) * (x3 - x1)
