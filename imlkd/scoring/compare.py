"""Systems on the same trials: differences of EER, DCF and Cllr, with intervals from the same draws of speakers.

All systems have heard the same trials, so their errors move together from draw to draw. Each draw of speakers weighs
the trials of all alike (see ``resampling``) and gives one difference. Where a system was trained with several seeds,
its measure is the mean over them, and each draw of speakers goes with a draw of its seeds: the two-way bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from imlkd.scoring.intervals import (
    FEW_SPEAKERS,
    METHODS,
    Interval,
    bca_interval,
    narrowed,
    percentile_interval,
    widened_interval,
)
from imlkd.scoring.metrics import Costs, Floats, Integers
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers, leave_one_out, point_values, resample


@dataclass(frozen=True)
class Difference:
    """First minus second system: below zero where the first is better.

    :param p: two-sided, of no difference: twice the smaller share of draws on either side of zero, a draw of exactly
        zero on both, the data itself counted as one draw (Davison & Hinkley, "Bootstrap methods", 1997, chapter 4).
        Where intervals are corrected, that is for the number of speakers, p is too. Two systems have much the same
        bias, which is not taken from differences: draws in which they do not differ stay zero.
    :param p_holm: p after Holm's correction for all comparisons of the same measure; p itself where there is one.
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Differences of two systems; EER as fractions, DCFs as normalised costs by the prior of a target, Cllr in bits.

    :param act_dcf: empty, and ``cllr`` None, unless the scores are log-likelihood ratios.
    :param seeds: how many score files each of the two systems has, one a seed of its training.
    :param few_speakers: fewer than ``FEW_SPEAKERS`` speakers: read intervals and p as a hint only.
    """

    eer: Difference
    min_dcf: dict[float, Difference]
    act_dcf: dict[float, Difference]
    cllr: Difference | None
    seeds: tuple[int, int]
    speakers: int
    draws: int
    few_speakers: bool


@dataclass(frozen=True)
class _System:
    """A system's measures: (M,) of all trials, (D, M) of the draws, and with BCa those without one speaker or seed."""

    whole: Floats
    drawn: Floats
    without_speaker: Floats
    without_seed: Floats
    seeds: int


@dataclass(frozen=True)
class Drawn:
    """Systems measured on the same draws of speakers, so that any of them can be compared with the others.

    :param speakers: in the trials.
    """

    systems: Sequence[_System]
    costs: Costs
    speakers: int
    method: str
    llr: bool

    def compare(self, first: int = 0) -> list[Comparison]:
        """One system with each of the others, in their order; empty when no draw had both kinds of trials."""
        if not len(self.systems[0].drawn):
            return []
        others = [one for index, one in enumerate(self.systems) if index != first]
        chosen = (self.costs, self.speakers, self.method, self.llr)
        return _with_holm([_comparison(self.systems[first], other, *chosen) for other in others])

    def eer(self, index: int) -> tuple[float, Floats]:
        """EER of a system, and that of each draw, (draws,)."""
        return float(self.systems[index].whole[0]), self.systems[index].drawn[:, 0]


def compare(
    first: SpeakerTrials, second: SpeakerTrials, p_targets: tuple[float, ...], draws: int = 1000, seed: int = 0
) -> Comparison | None:
    """Compare two systems of one score list each; see ``compare_systems``."""
    found = compare_systems([[first], [second]], Costs(p_targets), draws, seed)
    return found[0] if found else None


def compare_systems(
    systems: Sequence[Sequence[SpeakerTrials]],
    costs: Costs | None = None,
    draws: int = 1000,
    seed: int = 0,
    method: str = "corrected",
    llr: bool = False,
) -> list[Comparison]:
    """Compare the first system with each of the others on the same draws.

    :param systems: of each its scores of the same trials in the same order, once for each seed of its training.
    :param method: of the intervals, one of ``intervals.METHODS``.
    :param llr: scores are natural log-likelihood ratios: actDCF and Cllr as well.
    :returns: a comparison for each system but the first; empty when no draw had both kinds of trials.
    :raises ValueError: when the systems' scores are not of the same trials.
    """
    return draw_systems(systems, costs, draws, seed, method, llr).compare()


def draw_systems(
    systems: Sequence[Sequence[SpeakerTrials]],
    costs: Costs | None = None,
    draws: int = 1000,
    seed: int = 0,
    method: str = "corrected",
    llr: bool = False,
) -> Drawn:
    """Measure systems on the same draws; see ``compare_systems``."""
    costs = costs or Costs()
    first = systems[0][0]
    for run in (run for system in systems for run in system):
        for name in ("target_speaker", "enroll_speaker", "test_speaker"):
            if not np.array_equal(getattr(first, name), getattr(run, name)):
                raise ValueError("the systems' scores are not of the same trials in the same order")
    if method not in METHODS:
        raise ValueError(f"{method!r} is no kind of interval: expected one of {', '.join(METHODS)}")
    seeds = np.random.SeedSequence(seed).spawn(len(systems))  # of the draws of seeds; speakers are drawn by ``seed``
    measured = [
        _measure(system, costs, draws, seed, of_seeds, method == "bca", llr)
        for system, of_seeds in zip(systems, seeds, strict=True)
    ]
    return Drawn(measured, costs, len(first.speakers()), method, llr)


def draw_seeds(count: int, draws: int, seed: np.random.SeedSequence) -> Integers:
    """Indices of the seeds that count in each draw, (draws, count - 1), or (draws, 1) for one seed.

    One fewer is drawn than there are, with replacement: then the variance of their mean over the draws is that of a
    mean of ``count``, which drawing all would make too small (McCarthy & Snowden, "The bootstrap and finite population
    sampling", 1985). With one seed nothing is known of the others and none of their variance is in the interval.
    """
    return np.random.default_rng(seed).integers(0, count, (draws, max(1, count - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 1979): p that may be compared with one level."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def gap_closed(baseline: float, row: float, teacher: float) -> float | None:
    """Share of the way from the baseline to the teacher that a row has gone; None where the teacher is no better."""
    return (baseline - row) / (baseline - teacher) if baseline > teacher else None


def _measure(
    runs: Sequence[SpeakerTrials],
    costs: Costs,
    draws: int,
    seed: int,
    of_seeds: np.random.SeedSequence,
    jackknife: bool,
    llr: bool,
) -> _System:
    speakers = runs[0].speakers()
    whole = np.array([point_values(run, costs, llr) for run in runs])
    values = np.array([resample(run, draw_speakers(speakers, draws, seed), costs, llr).values for run in runs])
    picks = draw_seeds(len(runs), values.shape[1], of_seeds)
    drawn = values[picks, np.arange(values.shape[1])[:, None]].mean(axis=1)
    without_speaker = without_seed = np.empty((0, whole.shape[1]))
    if jackknife:
        left = [resample(run, leave_one_out(speakers), costs, llr).values for run in runs]
        without_speaker = np.mean(left, axis=0)
        if len(runs) > 1:
            without_seed = (whole.sum(axis=0) - whole) / (len(runs) - 1)
    return _System(whole.mean(axis=0), drawn, without_speaker, without_seed, len(runs))


def _comparison(one: _System, other: _System, costs: Costs, speakers: int, method: str, llr: bool) -> Comparison:
    differences = list(_differences(one, other, method, speakers))
    priors = len(costs.p_targets)
    return Comparison(
        eer=differences[0],
        min_dcf=dict(zip(costs.p_targets, differences[1 : 1 + priors], strict=True)),
        act_dcf=dict(zip(costs.p_targets, differences[1 + priors : -1], strict=True)) if llr else {},
        cllr=differences[-1] if llr else None,
        seeds=(one.seeds, other.seeds),
        speakers=speakers,
        draws=len(one.drawn),
        few_speakers=speakers < FEW_SPEAKERS,
    )


def _differences(one: _System, other: _System, method: str, speakers: int) -> Iterator[Difference]:
    """One for each measure."""
    gaps = one.drawn - other.drawn
    point = one.whole - other.whole
    without = [
        one.without_speaker - other.without_speaker,
        one.without_seed - other.whole,
        one.whole - other.without_seed,
    ]
    for index, column in enumerate(gaps.T):
        p = two_sided_p(column, speakers if method == "corrected" else None)
        if method == "corrected":
            interval = widened_interval(column, speakers)
        elif method == "bca":
            interval = bca_interval(column, float(point[index]), *(left[:, index] for left in without if len(left)))
        else:
            interval = percentile_interval(column)
        first, second = float(one.whole[index]), float(other.whole[index])
        yield Difference(first, second, first - second, interval, p, p)


def two_sided_p(gaps: Floats, speakers: int | None = None, strata: int = 1) -> float:
    """p of no difference from differences of draws; see ``Difference``.

    :param speakers: corrects for as many, so that p is below 0.05 where ``widened_interval`` leaves zero out, but for
        the grain of the draws; ``strata``: see ``widened``.
    """
    rarer = min(int((gaps <= 0.0).sum()), int((gaps >= 0.0).sum()))
    p = min(1.0, 2.0 * (rarer + 1) / (len(gaps) + 1))
    if speakers is None:
        return p
    normal = NormalDist()
    return 2.0 * normal.cdf(narrowed(normal.inv_cdf(p / 2.0), speakers, strata))


def least_p(draws: int, comparisons: int, speakers: int | None = None, strata: int = 1) -> float:
    """The least p after Holm's correction that so many draws can give: all of them on one side of zero."""
    return min(1.0, comparisons * two_sided_p(np.ones(draws), speakers, strata))


def _with_holm(found: list[Comparison]) -> list[Comparison]:
    """Correct each measure for the number of comparisons."""
    if not found:
        return []

    def corrected(differences: list[Difference]) -> list[Difference]:
        return [
            replace(one, p_holm=p) for one, p in zip(differences, holm([one.p for one in differences]), strict=True)
        ]

    for prior in found[0].min_dcf:
        for name in ("min_dcf", "act_dcf"):
            if getattr(found[0], name):
                column = corrected([getattr(one, name)[prior] for one in found])
                found = [
                    replace(one, **{name: getattr(one, name) | {prior: new}})
                    for one, new in zip(found, column, strict=True)
                ]
    found = [replace(one, eer=new) for one, new in zip(found, corrected([one.eer for one in found]), strict=True)]
    if bits := [one.cllr for one in found if one.cllr]:
        found = [replace(one, cllr=new) for one, new in zip(found, corrected(bits), strict=True)]
    return found
