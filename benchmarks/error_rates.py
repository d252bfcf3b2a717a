"""Error rates and paired intervals at the size of Vox1-E, beside scikit-learn's curves.

Two parts of benchmarks/scoring.py. `metrics`: all measures of one score list. `bootstrap`: EER and minDCF of two
systems on the same draws of speakers. Both are checked against scikit-learn on the same data before a time counts, and
are also timed at a tenth of the size, to show how they grow.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import det_curve, log_loss

from imlkd.scoring.cllr import cllr_of, min_cllr_of
from imlkd.scoring.compare import compare
from imlkd.scoring.intervals import draw_rates
from imlkd.scoring.metrics import SortedScores
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers

TRIALS, SPEAKERS, DRAWS = 580_000, 1_251, 1_000
P_TARGETS = (0.01, 0.001, 0.05)
TOLERANCE = 1e-5
PEER_DRAWS = 3


def simulate(trials: int, seed: int = 0) -> SpeakerTrials:
    """Half targets, half nontargets; each speaker shifts its own scores; EER near 3 %."""
    generator = np.random.default_rng(seed)
    count = trials // 2
    target, enroll = generator.integers(0, SPEAKERS, (2, count))
    test = (enroll + generator.integers(1, SPEAKERS, count)) % SPEAKERS
    shift = np.random.default_rng(seed + 1000).normal(0.0, 0.5, SPEAKERS)
    of_target = generator.normal(3.2, 1.0, count) + shift[target]
    of_nontarget = generator.normal(-1.0, 1.0, count) + 0.5 * shift[enroll]
    return SpeakerTrials(of_target, target, of_nontarget, enroll, test)


def second_system(first: SpeakerTrials) -> SpeakerTrials:
    """The same trials, heard by a system that is a little worse."""
    generator = np.random.default_rng(1)
    noise = [generator.normal(0.0, 0.3, len(scores)) for scores in (first.target, first.nontarget)]
    return SpeakerTrials(
        first.target + noise[0], first.target_speaker, first.nontarget + noise[1], first.enroll_speaker,
        first.test_speaker,
    )  # fmt: skip


def ours(trials: SpeakerTrials) -> dict[str, float]:
    """Every measure that the scoring room has."""
    scores = SortedScores(trials.target, trials.nontarget)
    found = {"eer": scores.eer().value, "cllr": cllr_of(scores), "min_cllr": min_cllr_of(scores)}
    found |= {"eer_kaldi": scores.eer_kaldi().value, "eer_rocch": scores.eer_rocch()}
    found |= {f"min_dcf_{prior:g}": scores.min_dcf(prior).value for prior in P_TARGETS}
    found |= {f"act_dcf_{prior:g}": scores.act_dcf(prior).value for prior in P_TARGETS}
    return found


def scikit_learn(trials: SpeakerTrials) -> dict[str, float]:
    """Those that scikit-learn's curves give, by the shortest way."""
    scores = np.concatenate([trials.target, trials.nontarget])
    labels = np.repeat([1, 0], [len(trials.target), len(trials.nontarget)])
    found = dict(zip(rate_names(), rates_by_curve(labels, scores, None), strict=True))
    found["cllr"] = bits(labels, 1.0 / (1.0 + np.exp(-scores)))
    found["min_cllr"] = bits(labels, IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, labels))
    return found


def rate_names() -> list[str]:
    return ["eer", *(f"min_dcf_{prior:g}" for prior in P_TARGETS)]


def rates_by_curve(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> list[float]:
    """EER (linear interpolation) and minDCF from scikit-learn's DET curve, its end points added."""
    false_alarm, miss, _ = det_curve(labels, scores, sample_weight=weights)
    false_alarm, miss = np.r_[1.0, false_alarm, 0.0], np.r_[0.0, miss, 1.0]
    costs = [(miss * prior + false_alarm * (1 - prior)).min() / min(prior, 1 - prior) for prior in P_TARGETS]
    gap = miss - false_alarm
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return [float(miss[after - 1] + share * (miss[after] - miss[after - 1])), *map(float, costs)]


def bits(labels: np.ndarray, posterior: np.ndarray) -> float:
    """Cross entropy in bits; both kinds of trials are equally many here, so the prior is one half."""
    return float(log_loss(labels, np.clip(posterior, 1e-15, 1 - 1e-15)) / np.log(2.0))


def median_seconds(work: Callable[[], object], repetitions: int) -> float:
    taken = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def refuse_difference(ours: list[float], theirs: list[float]) -> float:
    """The largest difference; SystemExit when it is too large for times to count."""
    difference = float(np.abs(np.array(ours) - np.array(theirs)).max())
    if not difference < TOLERANCE:
        sys.exit(f"scikit-learn and ours differ by {difference}: no speed is measured")
    return difference


def measure_metrics(quick: bool) -> dict[str, float]:
    """``metrics_seconds``: all measures from scores in memory; the peer gives six of the eleven."""
    trials, tenth = simulate(TRIALS), simulate(TRIALS // 10)
    found, expected = ours(trials), scikit_learn(trials)
    difference = refuse_difference([found[name] for name in expected], list(expected.values()))
    repetitions = 3 if quick else 9
    seconds = median_seconds(lambda: ours(trials), repetitions)
    peer = median_seconds(lambda: scikit_learn(trials), repetitions)
    small = median_seconds(lambda: ours(tenth), repetitions)
    return _rounded(
        "metrics", seconds=seconds, tenth_seconds=small, scikit_learn_seconds=peer,
        speedup_vs_scikit_learn=peer / seconds, largest_difference=difference,
    )  # fmt: skip


def measure_bootstrap(quick: bool) -> dict[str, float]:
    """``bootstrap_seconds``: two systems, 1,000 draws; the peer's time a draw is of a few draws, and is scaled."""
    first = simulate(TRIALS)
    second = second_system(first)
    repetitions = 1 if quick else 3
    peer, difference = scikit_learn_draws(first)
    seconds = median_seconds(lambda: compare(first, second, P_TARGETS[:1], DRAWS), repetitions)
    tenth = simulate(TRIALS // 10)
    other = second_system(tenth)
    small = median_seconds(lambda: compare(tenth, other, P_TARGETS[:1], DRAWS), repetitions)
    theirs = 2 * DRAWS * peer
    return _rounded(
        "bootstrap", seconds=seconds, tenth_seconds=small, scikit_learn_seconds=theirs,
        speedup_vs_scikit_learn=theirs / seconds, largest_difference=difference,
    )  # fmt: skip


def scikit_learn_draws(trials: SpeakerTrials) -> tuple[float, float]:
    """Seconds of one weighted draw, and the largest difference from ours over the same few draws."""
    scores = np.concatenate([trials.target, trials.nontarget])
    labels = np.repeat([1, 0], [len(trials.target), len(trials.nontarget)])
    expected, taken = [], []
    for count in draw_speakers(trials.speakers(), PEER_DRAWS, seed=0):
        nontarget = count[trials.enroll_speaker] * count[trials.test_speaker]
        weights = np.concatenate([count[trials.target_speaker], nontarget])
        started = time.perf_counter()
        expected.append(rates_by_curve(labels, scores, weights))
        taken.append(time.perf_counter() - started)
    found = draw_rates(trials, P_TARGETS, PEER_DRAWS, seed=0)
    return statistics.median(taken), refuse_difference(found.ravel().tolist(), np.ravel(expected).tolist())


def _rounded(part: str, **values: float) -> dict[str, float]:
    return {f"{part}_{key}": float(f"{value:.4g}") for key, value in values.items()}
