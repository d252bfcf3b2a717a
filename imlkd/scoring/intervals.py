"""95 % intervals of error measures by a bootstrap over speakers.

Trials that share a speaker are no independent draws, so intervals that resample trials (or use a binomial) are far
too narrow. Here speakers are drawn with replacement, enrolment and test side from the same population, and each draw
weighs the trials (see ``resampling``), with whole subjects as units as in Bolle, Ratha & Pankanti, "Error analysis of
pattern recognition systems: the subsets bootstrap" (CVIU 2004). Percentiles of the draws alone hold the truth too
seldom: a minDCF is the least of many costs and comes out too low, from draws twice over, and few speakers vary less
than the population. So intervals are ``corrected`` for both, unless plain percentiles are asked for or BCa: Efron,
"Better bootstrap confidence intervals" (JASA 1987). ``benchmarks/interval_coverage.py`` shows how they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from imlkd.scoring.metrics import Costs, Floats
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers, leave_one_out, point_values, resample

FEW_SPEAKERS = 20
LEVEL = 0.95
LIMIT = 1.0  # of an EER, and of a minDCF: what rejecting everything costs
METHODS = ("corrected", "bca", "percentile")
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    """Bounds of a confidence interval, in the unit of the measure."""

    low: float
    high: float


@dataclass(frozen=True)
class SpeakerBootstrap:
    """Intervals over speakers; dictionaries are by the prior of a target.

    :param eer_threshold: of the score at which the EER is reached; ``min_dcf_threshold``: likewise, percentiles always.
    :param act_dcf: empty and ``cllr`` None unless the scores are log-likelihood ratios.
    :param draws: how many draws counted (one without any target or nontarget trial has no error rate and is left out).
    :param few_speakers: fewer than ``FEW_SPEAKERS`` speakers: read the interval as a hint only.
    """

    eer: Interval
    min_dcf: dict[float, Interval]
    eer_threshold: Interval
    min_dcf_threshold: dict[float, Interval]
    act_dcf: dict[float, Interval]
    cllr: Interval | None
    speakers: int
    draws: int
    few_speakers: bool


def speaker_bootstrap(
    trials: SpeakerTrials,
    costs: Costs | None = None,
    draws: int = 1000,
    seed: int = 0,
    method: str = "corrected",
    llr: bool = False,
) -> SpeakerBootstrap | None:
    """Bootstrap all measures over speakers; the same seed gives the same intervals.

    :param costs: operating points of minDCF and actDCF.
    :param draws: number of draws of a whole speaker population.
    :param method: one of ``METHODS``.
    :param llr: scores are natural log-likelihood ratios: actDCF and Cllr as well.
    :returns: None when no draw had both kinds of trials (one speaker only).
    """
    costs = costs or Costs()
    speakers = trials.speakers()
    drawn = resample(trials, draw_speakers(speakers, draws, seed), costs, llr)
    count = len(drawn.values)
    if not count:
        return None
    intervals = intervals_of(trials, drawn.values, costs, method, llr)
    thresholds = [percentile_interval(column, "inverted_cdf") for column in drawn.thresholds.T]
    priors = costs.p_targets
    actual = intervals[1 + len(priors) : -1] if llr else []
    return SpeakerBootstrap(
        eer=intervals[0],
        min_dcf=dict(zip(priors, intervals[1 : 1 + len(priors)], strict=True)),
        eer_threshold=thresholds[0],
        min_dcf_threshold=dict(zip(priors, thresholds[1:], strict=True)),
        act_dcf=dict(zip(priors, actual, strict=True)) if llr else {},
        cllr=intervals[-1] if llr else None,
        speakers=len(speakers),
        draws=count,
        few_speakers=len(speakers) < FEW_SPEAKERS,
    )


def intervals_of(
    trials: SpeakerTrials, values: Floats, costs: Costs, method: str = "corrected", llr: bool = False
) -> list[Interval]:
    """An interval for each column of ``values``, (draws, measures), as ``resample`` found them for ``trials``."""
    if method not in METHODS:
        raise ValueError(f"{method!r} is no kind of interval: expected one of {', '.join(METHODS)}")
    if method == "percentile":
        return [percentile_interval(column) for column in values.T]
    speakers, whole = trials.speakers(), point_values(trials, costs, llr)
    if method == "bca":
        without = resample(trials, leave_one_out(speakers), costs, llr).values
        return [bca_interval(*columns) for columns in zip(values.T, whole, without.T, strict=True)]
    moved = values * bias_ratios(values, np.array(whole)) ** -2.0
    limited = moved[:, : 1 + len(costs.p_targets)]
    np.minimum(limited, LIMIT, out=limited)  # no EER and no minDCF is above it
    found = [limited_interval(column, len(speakers)) for column in limited.T]
    return found + [widened_interval(column, len(speakers)) for column in moved.T[len(found) :]]


def bias_ratios(values: Floats, estimates: Floats) -> Floats:
    """What the draws (draws, M) are on average as a multiple of the estimates (M,).

    A draw is to the estimate as the estimate to the truth. So the estimate is on average as many times the truth, and
    the draws are that twice: dividing by the square leaves them about the truth. Factors, not differences, since no
    error measure is below zero: the average is geometric, over the draws with errors. Without any it is 1.
    """
    some = values > 0.0
    logarithms = np.log(values, where=some, out=np.zeros_like(values))
    typical = np.exp(logarithms.sum(axis=0) / np.maximum(some.sum(axis=0), 1))
    ratios: Floats = np.divide(typical, estimates, where=some.any(axis=0), out=np.ones_like(estimates))
    return ratios


def widened_interval(values: Floats, speakers: int, strata: int = 1) -> Interval:
    """Percentiles of the draws, further out the fewer speakers there are (see ``widened``)."""
    reach = widened(_NORMAL.inv_cdf((1.0 + LEVEL) / 2.0), speakers, strata)
    low, high = np.percentile(values, [100.0 * _NORMAL.cdf(one) for one in (-reach, reach)])
    return Interval(float(low), float(high))


def limited_interval(values: Floats, speakers: int) -> Interval:
    """``widened_interval`` of a measure that is ``LIMIT`` at most.

    An upper end at the limit leaves nothing out, so the lower end may leave out more than its half of the 5 %: a
    quarter of the share of draws at the limit, and no more than all of it. The quarter is chosen, as the corrections
    are, on simulated sets (``benchmarks/interval_coverage.py --seed 0``): the whole share is too much at 50 speakers.
    """
    tails = (1.0 - LEVEL) / 2.0, 1.0 - LEVEL
    half, whole = (_NORMAL.cdf(widened(_NORMAL.inv_cdf(tail), speakers)) for tail in tails)
    lower = min(whole, max(half, float((values >= LIMIT).mean()) / 4.0))
    low, high = np.percentile(values, [100.0 * lower, 100.0 * (1.0 - half)])
    return Interval(float(low), float(high))


def widened(deviate: float, speakers: int, strata: int = 1) -> float:
    """The normal deviate at which the draws of so many speakers have the tail that ``deviate`` has by itself.

    Student's t for the normal distribution, times sqrt(n / (n - 1)) for the draws' variance: the expanded percentiles
    of Hesterberg, "What teachers should know about the bootstrap" (The American Statistician 2015, section 5.3). t is
    Wallace's approximation (Annals of Mathematical Statistics 1959), within 0.2 % from 7 speakers on.

    :param strata: groups of about equal size, each drawn by itself: every one takes a degree of freedom.
    """
    freedom = max(1, speakers - strata)
    deviate *= (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    student = math.copysign(math.sqrt(freedom * math.expm1(deviate**2 / freedom)), deviate)
    return student * math.sqrt((freedom + strata) / freedom)


def narrowed(reach: float, speakers: int, strata: int = 1) -> float:
    """The inverse of ``widened``."""
    freedom = max(1, speakers - strata)
    student = reach / math.sqrt((freedom + strata) / freedom)
    deviate = math.copysign(math.sqrt(freedom * math.log1p(student**2 / freedom)), student)
    return deviate * (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)


def percentile_interval(values: Floats, between: str = "linear") -> Interval:
    """The middle 95 % of the draws.

    :param between: numpy's method for quantiles between two draws; ``inverted_cdf`` takes one of them, which infinite
        thresholds need.
    """
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(values, [tail, 100.0 - tail], method=between)  # type: ignore[call-overload]
    return Interval(float(low), float(high))


def bca_interval(values: Floats, estimate: float, *without_one: Floats) -> Interval:
    """Bias-corrected and accelerated: percentiles moved by the draws' bias and by how the spread grows with the value.

    The bias is the share of draws below the estimate, ties counted half; the acceleration is the skewness of the
    jackknife (Efron 1987, section 6; Efron & Tibshirani, "An introduction to the bootstrap" 1993, equation 14.15).

    :param values: (draws,); ``without_one``: (units,), the estimates without each unit in turn; one array for each
        sample that is drawn on its own (speakers; the seeds of a system).
    """
    share = float((values < estimate).mean() + (values <= estimate).mean()) / 2.0
    least = 0.5 / len(values)  # all draws on one side: as far as so many draws can tell
    bias = _NORMAL.inv_cdf(min(max(share, least), 1.0 - least))
    acceleration = _acceleration(without_one)
    quantile = _NORMAL.inv_cdf((1.0 + LEVEL) / 2.0)
    moved = [bias + shift / (1.0 - acceleration * shift) for shift in (bias - quantile, bias + quantile)]
    low, high = np.percentile(values, [100.0 * _NORMAL.cdf(one) for one in moved])
    return Interval(float(low), float(high))


def _acceleration(without_one: Sequence[Floats]) -> float:
    """A sixth of the skewness of the influence of all units (Efron 1987, section 7 for several samples)."""
    cubes = squares = 0.0
    for left in without_one:
        influence = (len(left) - 1) / len(left) * (left.mean() - left)
        cubes += float((influence**3).sum())
        squares += float((influence**2).sum())
    return cubes / (6.0 * squares**1.5) if squares else 0.0


def draw_rates(trials: SpeakerTrials, p_targets: tuple[float, ...], draws: int, seed: int) -> Floats:
    """EER and minDCF of each draw, (draws with both kinds of trials, 1 + priors).

    The same trials and seed give the same draws, whatever the scores are.
    """
    return resample(trials, draw_speakers(trials.speakers(), draws, seed), Costs(p_targets)).values
