"""95 % intervals of EER and minDCF by a bootstrap over speakers.

Trials that share a speaker are no independent draws, so intervals that resample trials (or use a binomial) are far
too narrow. Here speakers are drawn with replacement, enrolment and test side from the same population. With n_s the
number of times speaker s was drawn, a target trial of s counts n_s times and a nontarget trial of s and t counts
n_s * n_t times: the product weights of Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics 2007), with
whole subjects as units as in Bolle, Ratha & Pankanti, "Error analysis of pattern recognition systems: the subsets
bootstrap" (CVIU 2004). The interval is the percentile one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imlkd.scoring.metrics import Floats, Integers, corners, crossing, normalised_cost, thresholds_of

FEW_SPEAKERS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Bounds of a confidence interval, in the unit of the measure."""

    low: float
    high: float


@dataclass(frozen=True)
class SpeakerTrials:
    """Scores with the speakers that each trial involves, as indices from 0.

    :param target: (T,) scores; ``target_speaker``: (T,).
    :param nontarget: (N,) scores; ``enroll_speaker``, ``test_speaker``: (N,), the two speakers of each.
    """

    target: Floats
    target_speaker: Integers
    nontarget: Floats
    enroll_speaker: Integers
    test_speaker: Integers

    def speakers(self) -> Integers:
        """The indices that occur, sorted."""
        return np.unique(np.concatenate([self.target_speaker, self.enroll_speaker, self.test_speaker]))


@dataclass(frozen=True)
class SpeakerBootstrap:
    """Intervals over speakers.

    :param min_dcf: by the prior of a target.
    :param draws: how many draws counted (one without any target or nontarget trial has no error rate and is left out).
    :param few_speakers: fewer than ``FEW_SPEAKERS`` speakers: read the interval as a hint only.
    """

    eer: Interval
    min_dcf: dict[float, Interval]
    speakers: int
    draws: int
    few_speakers: bool


def speaker_bootstrap(
    trials: SpeakerTrials, p_targets: tuple[float, ...], draws: int = 1000, seed: int = 0
) -> SpeakerBootstrap | None:
    """Bootstrap EER and minDCF over speakers; the same seed gives the same intervals.

    :param draws: number of draws of a whole speaker population.
    :returns: None when no draw had both kinds of trials (one speaker only).
    """
    speakers = trials.speakers()
    rates = draw_rates(trials, p_targets, draws, seed)
    if not len(rates):
        return None
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(rates, [tail, 100.0 - tail], axis=0).tolist()
    intervals = [Interval(*bounds) for bounds in zip(low, high, strict=True)]
    min_dcf = dict(zip(p_targets, intervals[1:], strict=True))
    return SpeakerBootstrap(intervals[0], min_dcf, len(speakers), len(rates), len(speakers) < FEW_SPEAKERS)


def draw_rates(trials: SpeakerTrials, p_targets: tuple[float, ...], draws: int, seed: int) -> Floats:
    """EER and minDCF of each draw, (draws with both kinds of trials, 1 + priors).

    The same trials and seed give the same draws, whatever the scores are.
    """
    rates = [
        [crossing(miss, false_alarm)[0]]
        + [float(normalised_cost(miss, false_alarm, p_target).min()) for p_target in p_targets]
        for miss, false_alarm in _resampled_rates(trials, draw_speakers(trials.speakers(), draws, seed))
    ]
    return np.array(rates).reshape(len(rates), 1 + len(p_targets))


def draw_speakers(speakers: Integers, draws: int, seed: int) -> Iterator[Integers]:
    """Yield, for each draw, how often each index up to the largest one was drawn.

    :param speakers: sorted indices, as ``SpeakerTrials.speakers`` gives them.
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(generator.choice(speakers, size=len(speakers)), minlength=int(speakers[-1]) + 1)


def _resampled_rates(trials: SpeakerTrials, counts: Iterator[Integers]) -> Iterator[tuple[Floats, Floats]]:
    """Yield miss and false alarm rates of each draw at the corners of the ROC, skipping draws of one kind only."""
    by_target, by_nontarget = np.argsort(trials.target), np.argsort(trials.nontarget)
    target_speaker = trials.target_speaker[by_target]
    enroll_speaker, test_speaker = trials.enroll_speaker[by_nontarget], trials.test_speaker[by_nontarget]
    outer = corners(thresholds_of(trials.target, trials.nontarget))
    for count in counts:
        missed = _weight_below(count[target_speaker], outer.targets_below)
        rejected = _weight_below(count[enroll_speaker] * count[test_speaker], outer.nontargets_below)
        if missed[-1] and rejected[-1]:
            yield missed / missed[-1], (rejected[-1] - rejected) / rejected[-1]


def _weight_below(weights: Integers, positions: Integers) -> Integers:
    """Sum of the weights before each position."""
    total = np.zeros(len(weights) + 1, dtype=np.int64)
    np.cumsum(weights, out=total[1:])
    return total[positions]
