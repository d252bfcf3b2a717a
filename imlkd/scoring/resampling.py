"""Error measures of trials that weigh as their speakers were drawn, for bootstrap and jackknife.

With n_s the number of times speaker s was drawn, a target trial of s counts n_s times and a nontarget trial of s and
t counts n_s * n_t times: the product weights of Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics 2007).
Scores are sorted once; a draw then costs two running sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from imlkd.scoring.cllr import cllr_of, trial_costs
from imlkd.scoring.metrics import (
    Costs,
    Floats,
    Integers,
    SortedScores,
    corner_mask,
    corners,
    crossing,
    normalised_cost,
)


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
class Resampled:
    """Measures of each draw that had both kinds of trials.

    :param values: (D, M) EER, minDCF by prior and, for log-likelihood ratios, actDCF by prior and Cllr.
    :param thresholds: (D, 1 + P) scores at which EER and each minDCF are reached; inf: all rejected.
    """

    values: Floats
    thresholds: Floats


def draw_speakers(speakers: Integers, draws: int, seed: int) -> Iterator[Integers]:
    """Yield, for each draw, how often each index up to the largest one was drawn.

    :param speakers: sorted indices, as ``SpeakerTrials.speakers`` gives them.
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(generator.choice(speakers, size=len(speakers)), minlength=int(speakers[-1]) + 1)


def leave_one_out(speakers: Integers) -> Iterator[Integers]:
    """Yield, for each speaker, the weights of all others alone: the draws of a jackknife."""
    every = np.zeros(int(speakers[-1]) + 1, dtype=np.int64)
    every[speakers] = 1
    for speaker in speakers.tolist():
        every[speaker] = 0
        yield every
        every[speaker] = 1


def point_values(trials: SpeakerTrials, costs: Costs, llr: bool = False) -> list[float]:
    """Measures of all trials, in the order of ``Resampled.values``."""
    scores, prices = SortedScores(trials.target, trials.nontarget), (costs.c_miss, costs.c_fa)
    values = [scores.eer().value, *(scores.min_dcf(p_target, *prices).value for p_target in costs.p_targets)]
    if llr:
        values += [*(scores.act_dcf(p_target, *prices).value for p_target in costs.p_targets), cllr_of(scores)]
    return values


def resample(trials: SpeakerTrials, counts: Iterable[Integers], costs: Costs, llr: bool = False) -> Resampled:
    """Measure each draw, leaving out those without any target or nontarget trial.

    :param counts: how often each speaker was drawn, as ``draw_speakers`` yields.
    :param llr: scores are natural log-likelihood ratios: actDCF and Cllr as well.
    """
    weighted = WeightedTrials(trials, costs, llr)
    found = [one for one in map(weighted.measure, counts) if one is not None]
    priors = len(costs.p_targets)
    width = 1 + priors + (priors + 1 if llr else 0)
    values = np.array([one[0] for one in found]).reshape(len(found), width)
    return Resampled(values, np.array([one[1] for one in found]).reshape(len(found), 1 + priors))


class WeightedTrials:
    """One system's trials, sorted once, to be measured under the weights of many draws."""

    def __init__(self, trials: SpeakerTrials, costs: Costs, llr: bool = False) -> None:
        self.costs = costs
        by_target, by_nontarget = np.argsort(trials.target), np.argsort(trials.nontarget)
        self._target_speaker = trials.target_speaker[by_target].astype(np.intp)
        self._enroll_speaker = trials.enroll_speaker[by_nontarget].astype(np.intp)
        self._test_speaker = trials.test_speaker[by_nontarget].astype(np.intp)
        self._every = SortedScores(trials.target, trials.nontarget).thresholds
        self._corner = np.flatnonzero(corner_mask(self._every))
        self._outer = corners(self._every)
        self._bits: tuple[Floats, Floats] | None = None
        if llr:
            target, nontarget = trials.target[by_target], trials.nontarget[by_nontarget]
            self._bits = trial_costs(target, True), trial_costs(nontarget, False)
            bayes = [costs.bayes_threshold(p_target) for p_target in costs.p_targets]
            self._bayes = np.searchsorted(target, bayes), np.searchsorted(nontarget, bayes)
        # Fresh arrays of this size would be fetched from the system at every draw.
        self._of_target = np.empty(len(by_target), dtype=np.int32)
        self._of_nontarget, self._of_test = np.empty((2, len(by_nontarget)), dtype=np.int32)
        self._missed = np.zeros(len(by_target) + 1, dtype=np.int64)
        self._rejected = np.zeros(len(by_nontarget) + 1, dtype=np.int64)

    def measure(self, count: Integers) -> tuple[list[float], list[float]] | None:
        """Measures and thresholds of one draw, in the order of ``Resampled``; None for a draw of one kind only."""
        self._weigh(count.astype(np.int32))
        if not self._missed[-1] or not self._rejected[-1]:
            return None
        miss, false_alarm = self._rates(self._outer.targets_below, self._outer.nontargets_below)
        rate, threshold = self._eer(miss, false_alarm)
        values, thresholds = [rate], [threshold]
        for p_target in self.costs.p_targets:
            cost = normalised_cost(miss, false_alarm, p_target, self.costs.c_miss, self.costs.c_fa)
            best = int(np.argmin(cost))
            values.append(float(cost[best]))
            thresholds.append(float(self._outer.scores[best]))
        return values + self._of_ratios(), thresholds

    def _weigh(self, count: Integers) -> None:
        np.take(count, self._target_speaker, out=self._of_target, mode="clip")
        np.take(count, self._enroll_speaker, out=self._of_nontarget, mode="clip")
        np.take(count, self._test_speaker, out=self._of_test, mode="clip")
        self._of_nontarget *= self._of_test
        np.cumsum(self._of_target, out=self._missed[1:])
        np.cumsum(self._of_nontarget, out=self._rejected[1:])

    def _rates(self, targets_below: Integers, nontargets_below: Integers) -> tuple[Floats, Floats]:
        missed, rejected = self._missed[targets_below], self._rejected[nontargets_below]
        return missed / self._missed[-1], (self._rejected[-1] - rejected) / self._rejected[-1]

    def _eer(self, miss: Floats, false_alarm: Floats) -> tuple[float, float]:
        """The rate from the corners; the threshold from all points of the run in which it lies."""
        rate, _ = crossing(miss, false_alarm)
        after = int(np.searchsorted(miss - false_alarm, 0.0, side="left"))
        first, last = int(self._corner[after - 1]), int(self._corner[after])
        run = slice(first, last + 1)
        near = crossing(*self._rates(self._every.targets_below[run], self._every.nontargets_below[run]))[1]
        return rate, float(self._every.scores[min(first + near, len(self._every.scores) - 2)])

    def _of_ratios(self) -> list[float]:
        if self._bits is None:
            return []
        miss, false_alarm = self._rates(*self._bayes)
        c_miss, c_fa = self.costs.c_miss, self.costs.c_fa
        actual = [
            float(normalised_cost(miss[i : i + 1], false_alarm[i : i + 1], p_target, c_miss, c_fa)[0])
            for i, p_target in enumerate(self.costs.p_targets)
        ]
        of_target = float(self._of_target @ self._bits[0]) / float(self._missed[-1])
        of_nontarget = float(self._of_nontarget @ self._bits[1]) / float(self._rejected[-1])
        return [*actual, (of_target + of_nontarget) / 2.0]
