"""Areas under deletion and insertion curves, and how sure their differences are.

All orders were tried on the same utterances and trials, so their areas move together from draw to draw of the
speakers: each draw weighs all orders alike (``scoring.resampling``) and gives one difference. Its interval is that of
``imlkd compare``: percentiles of the draws, further out the fewer speakers there are. An area lies between the curve's
lowest and highest value, since the fractions run from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imlkd.attribution.faithfulness import Measured
from imlkd.attribution.perturbation import FRACTIONS, MODES
from imlkd.scoring.intervals import Interval, draw_rates, widened_interval
from imlkd.scoring.metrics import Floats, Integers, eer
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers
from imlkd.scoring.speakers import speaker_trials

HIGHER_IS_SURER = {"top1": True, "top5": True, "cosine": True, "target_cosine": True, "eer": False}


@dataclass(frozen=True)
class Gap:
    """Area of a map's order minus that of another.

    :param interval: 95 %, over speakers.
    :param better: whether the map's order is the more faithful one; None where the interval holds zero.
    """

    difference: float
    interval: Interval
    better: bool | None


@dataclass(frozen=True)
class Result:
    """One measure of one mode at one duration, by order.

    :param measure: ``top1``, ``top5`` and ``eer`` are fractions, ``cosine`` is to the own class, ``target_cosine`` the
        mean score of target trials.
    :param curves: a value a fraction of ``FRACTIONS``.
    :param gaps: each map's order minus the controls and the first map's: ``gaps[order][other]``.
    """

    seconds: float
    mode: str
    measure: str
    curves: dict[str, list[float]]
    areas: dict[str, float]
    gaps: dict[str, dict[str, Gap]]


def area(curves: npt.ArrayLike, fractions: Sequence[float] = FRACTIONS) -> Floats:
    """Trapezoid over the last axis, (..., Q) -> (...)."""
    found: Floats = np.asarray(np.trapezoid(np.asarray(curves, np.float64), fractions, axis=-1))
    return found


def mean_draws(values: Floats, speaker: Integers, draws: int, seed: int) -> Floats:
    """Means of (N, K) values under draws of speakers with replacement: (draws, K).

    :param speaker: (N,) index of each row's speaker.
    """
    speakers, place = np.unique(speaker, return_inverse=True)
    sums, counts = np.zeros((len(speakers), values.shape[1])), np.bincount(place)
    np.add.at(sums, place, values)
    weights = [count[speakers] for count in draw_speakers(speakers, draws, seed)]
    return np.array([weight @ sums / (weight @ counts) for weight in weights])


def results_of(measured: Measured, utt2spk: Mapping[str, str], draws: int = 1000, seed: int = 0) -> list[Result]:
    """Every measure, with intervals over speakers by ``draws`` draws."""
    return [
        _result(measured, mode, measure, curves, drawn, speakers)
        for m, mode in enumerate(MODES)
        for measure, curves, drawn, speakers in _measures(measured, m, utt2spk, draws, seed)
    ]


def _result(measured: Measured, mode: str, measure: str, curves: Floats, drawn: Floats, speakers: int) -> Result:
    """From curves (O, Q) and draws of their areas (D, O)."""
    orders, areas = measured.orders, area(curves)

    def gap(one: int, other: int) -> Gap:
        interval = widened_interval(drawn[:, one] - drawn[:, other], speakers)
        return _gap(areas[one] - areas[other], interval, measure, mode)

    rivals = (0, *range(measured.maps, len(orders)))
    gaps = {
        orders[one]: {orders[other]: gap(one, other) for other in rivals if other != one}
        for one in range(measured.maps)
    }
    by_order = dict(zip(orders, curves.tolist(), strict=True))
    by_area = dict(zip(orders, areas.tolist(), strict=True))
    return Result(measured.seconds, mode, measure, by_order, by_area, gaps)


def _gap(difference: float, interval: Interval, measure: str, mode: str) -> Gap:
    wanted = HIGHER_IS_SURER[measure] == (mode == MODES[0])  # insertion in the right order makes the model sure early
    larger = None if interval.low <= 0.0 <= interval.high else bool(difference > 0.0)
    return Gap(float(difference), interval, None if larger is None else larger == wanted)


def _measures(
    measured: Measured, m: int, utt2spk: Mapping[str, str], draws: int, seed: int
) -> Iterator[tuple[str, Floats, Floats, int]]:
    """Name, curves (O, Q), draws of their areas (D, O) and number of speakers of each measure."""
    index = {speaker: i for i, speaker in enumerate(dict.fromkeys(utt2spk.values()))}
    own = np.array([index[utt2spk[name]] for name in measured.utterances])
    nearer = measured.nearer[:, :, m]
    by_utterance = {"top1": nearer < 1, "top5": nearer < 5, "cosine": measured.cosine[:, :, m]}
    for name, values in by_utterance.items():
        yield name, values.mean(0, dtype=np.float64), mean_draws(area(values), own, draws, seed), len(np.unique(own))
    if measured.trials is None or measured.scores is None:
        return
    scores = measured.scores[:, :, m].astype(np.float64)
    target = scores[measured.trials.is_target]
    whole = speaker_trials(measured.trials, scores[:, 0, 0], utt2spk)
    owners = whole.target_speaker
    yield "target_cosine", target.mean(0), mean_draws(area(target), owners, draws, seed), len(np.unique(owners))
    rates = [[_rates(measured, whole, scores[:, o, q], draws, seed) for q in range(scores.shape[2])]
             for o in range(scores.shape[1])]
    curves = np.array([[rate for rate, _ in row] for row in rates])
    areas = area(np.array([[drawn for _, drawn in row] for row in rates]).transpose(2, 0, 1))
    yield "eer", curves, areas, len(whole.speakers())


def _rates(
    measured: Measured, whole: SpeakerTrials, scores: Floats, draws: int, seed: int
) -> tuple[float, Floats]:
    """EER of one fraction, and of each draw of speakers."""
    assert measured.trials is not None
    is_target = measured.trials.is_target
    trials = SpeakerTrials(
        scores[is_target], whole.target_speaker, scores[~is_target], whole.enroll_speaker, whole.test_speaker
    )
    return eer(trials.target, trials.nontarget).value, draw_rates(trials, (), draws, seed)[:, 0]
