"""Two systems on the same trials: differences of EER and minDCF, with intervals from the same draws of speakers.

Both systems have heard the same trials, so their errors move together from draw to draw. Each draw of speakers weighs
the trials of both alike (see ``intervals``) and gives one difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imlkd.scoring.intervals import FEW_SPEAKERS, LEVEL, Interval, draw_rates
from imlkd.scoring.metrics import Floats, eer, min_dcf
from imlkd.scoring.resampling import SpeakerTrials


@dataclass(frozen=True)
class Difference:
    """First minus second system: below zero where the first is better.

    :param p: two-sided, of no difference: twice the smaller share of draws on either side of zero, a draw of exactly
        zero on both, the data itself counted as one draw (Davison & Hinkley, "Bootstrap methods", 1997, chapter 4).
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True)
class Comparison:
    """Differences of two systems; EER as fractions, minDCF as normalised costs by the prior of a target.

    :param few_speakers: fewer than ``FEW_SPEAKERS`` speakers: read intervals and p as a hint only.
    """

    eer: Difference
    min_dcf: dict[float, Difference]
    speakers: int
    draws: int
    few_speakers: bool


def compare(
    first: SpeakerTrials, second: SpeakerTrials, p_targets: tuple[float, ...], draws: int = 1000, seed: int = 0
) -> Comparison | None:
    """Compare two systems' scores of the same trials in the same order.

    :returns: None when no draw had both kinds of trials (one speaker only).
    :raises ValueError: when the two are not of the same trials.
    """
    for name in ("target_speaker", "enroll_speaker", "test_speaker"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise ValueError("the two systems' scores are not of the same trials in the same order")
    gaps = draw_rates(first, p_targets, draws, seed) - draw_rates(second, p_targets, draws, seed)
    if not len(gaps):
        return None
    values = zip(_measures(first, p_targets), _measures(second, p_targets), gaps.T, strict=True)
    differences = [_difference(one, other, gap) for one, other, gap in values]
    speakers = len(first.speakers())
    by_prior = dict(zip(p_targets, differences[1:], strict=True))
    return Comparison(differences[0], by_prior, speakers, len(gaps), speakers < FEW_SPEAKERS)


def _measures(trials: SpeakerTrials, p_targets: tuple[float, ...]) -> list[float]:
    costs = [min_dcf(trials.target, trials.nontarget, p_target).value for p_target in p_targets]
    return [eer(trials.target, trials.nontarget).value, *costs]


def _difference(first: float, second: float, gaps: Floats) -> Difference:
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(gaps, [tail, 100.0 - tail]).tolist()
    rarer = min(int((gaps <= 0.0).sum()), int((gaps >= 0.0).sum()))
    return Difference(first, second, first - second, Interval(low, high), min(1.0, 2.0 * (rarer + 1) / (len(gaps) + 1)))
