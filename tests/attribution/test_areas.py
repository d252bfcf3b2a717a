"""Areas against scikit-learn, intervals against brute force and against those of scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import auc

from imlkd.attribution.areas import Result, area, mean_draws, results_of
from imlkd.attribution.faithfulness import Measured
from imlkd.attribution.perturbation import FRACTIONS, MODES
from imlkd.corpora.trials.lists import Trials
from imlkd.scoring.compare import compare_systems
from imlkd.scoring.metrics import Costs, eer
from imlkd.scoring.resampling import draw_speakers
from imlkd.scoring.speakers import speaker_trials

SPEAKERS, ORDERS, Q = 8, ("relevance", "energy", "random"), len(FRACTIONS)
UTT2SPK = {f"s{s}-u{u}": f"s{s}" for s in range(SPEAKERS) for u in range(3)}


def made(seed: int = 0, constant: bool = False) -> Measured:
    """Drawn answers; ``constant``: the same at every fraction and in both modes, so that areas are plain means."""
    generator = np.random.default_rng(seed)
    pairs = [(a, b) for a in UTT2SPK for b in UTT2SPK if a < b]
    trials = Trials(
        Path("trials"), "kaldi", [a for a, _ in pairs], [b for _, b in pairs],
        np.array([UTT2SPK[a] == UTT2SPK[b] for a, b in pairs]),
    )
    tail = (len(ORDERS), 1, 1) if constant else (len(ORDERS), 2, Q)
    spread = np.ones((len(ORDERS), 2, Q), np.float32)
    scores = (generator.normal(size=(len(trials), *tail)) + 1.5 * trials.is_target[:, None, None, None]) * spread
    cosine = generator.normal(size=(len(UTT2SPK), *tail)) * spread
    nearer = generator.integers(0, 9, (len(UTT2SPK), *tail)) * spread
    return Measured(
        2.0, ORDERS, 1, list(UTT2SPK), cosine.astype(np.float32), nearer.astype(np.float32), np.eye(3), {}, trials,
        scores.astype(np.float32),
    )


def by_name(results: list[Result]) -> dict[tuple[str, str], Result]:
    return {(one.mode, one.measure): one for one in results}


def test_the_area_is_that_of_scikit_learn() -> None:
    curves = np.random.default_rng(0).normal(size=(4, 2, Q))
    expected = [[auc(FRACTIONS, curve) for curve in rows] for rows in curves]
    np.testing.assert_allclose(area(curves), expected, rtol=1e-12)
    assert area(np.full(Q, 0.3)) == pytest.approx(0.3, abs=1e-12)
    assert area([0.0, 1.0, 0.0], (0.0, 0.5, 1.0)) == pytest.approx(0.5, abs=1e-12)


def test_draws_of_means_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(1)
    speaker = np.array([3, 3, 3, 7, 9, 9])
    values = generator.normal(size=(6, 2))
    found = mean_draws(values, speaker, 50, 4)
    for row, count in zip(found, draw_speakers(np.array([3, 7, 9]), 50, 4), strict=True):
        drawn = [value for s in (3, 7, 9) for _ in range(count[s]) for value in values[speaker == s]]
        np.testing.assert_allclose(row, np.mean(drawn, axis=0), rtol=1e-12)


def test_curves_are_means_shares_and_error_rates() -> None:
    measured = made()
    found = by_name(results_of(measured, UTT2SPK, draws=5))
    trials, scores = measured.trials, measured.scores
    assert trials is not None and scores is not None
    for m, mode in enumerate(MODES):
        for o, order in enumerate(ORDERS):
            nearer = measured.nearer[:, o, m]
            np.testing.assert_allclose(found[mode, "top1"].curves[order], (nearer == 0).mean(0))
            np.testing.assert_allclose(found[mode, "top5"].curves[order], (nearer < 5).mean(0))
            np.testing.assert_allclose(found[mode, "cosine"].curves[order], measured.cosine[:, o, m].mean(0), atol=1e-6)
            own = scores[:, o, m].astype(np.float64)
            rates = [eer(one[trials.is_target], one[~trials.is_target]).value for one in own.T]
            np.testing.assert_allclose(found[mode, "eer"].curves[order], rates)
            target = own[trials.is_target].mean(0)
            np.testing.assert_allclose(found[mode, "target_cosine"].curves[order], target, atol=1e-6)
            assert found[mode, "eer"].areas[order] == pytest.approx(auc(FRACTIONS, rates))


def test_the_interval_of_an_error_rate_is_that_of_imlkd_compare() -> None:
    """With curves that do not change the area is the error rate itself, and so are its draws; by default, too."""
    measured = made(constant=True)
    found = by_name(results_of(measured, UTT2SPK, draws=200, seed=3))
    assert measured.trials is not None and measured.scores is not None
    systems = [
        speaker_trials(measured.trials, measured.scores[:, o, 0, 0].astype(np.float64), UTT2SPK) for o in range(3)
    ]
    for mode in MODES:
        for o, other in enumerate(ORDERS[1:], 1):
            (expected,) = compare_systems([[systems[0]], [systems[o]]], Costs(()), 200, 3)
            gap = found[mode, "eer"].gaps["relevance"][other]
            assert gap.difference == pytest.approx(expected.eer.difference)
            assert gap.interval.low == pytest.approx(expected.eer.interval.low)
            assert gap.interval.high == pytest.approx(expected.eer.interval.high)


def test_the_interval_of_a_mean_is_wider_than_its_draws_percentiles() -> None:
    """As Student's t is over the normal: of 8 speakers by 2.365 / 1.960 * sqrt(8 / 7), for a normal distribution."""
    measured = replace(made(constant=True), trials=None, scores=None)
    gap = by_name(results_of(measured, UTT2SPK, draws=20000))["insertion", "cosine"].gaps["relevance"]["random"]
    speaker = np.array([int(name[1]) for name in measured.utterances])
    drawn = mean_draws(measured.cosine[:, :, 0, 0].astype(np.float64), speaker, 20000, 0)
    low, high = np.percentile(drawn[:, 0] - drawn[:, 2], [2.5, 97.5])
    wider = (gap.interval.high - gap.interval.low) / (high - low)
    assert wider == pytest.approx(2.365 / 1.960 * (8 / 7) ** 0.5, rel=0.05)


def test_better_is_higher_where_the_model_is_to_be_sure_early() -> None:
    """The first order's answers are surer by far: good for insertion, bad for deletion, whatever the measure."""
    measured = made()
    assert measured.scores is not None and measured.trials is not None
    measured.cosine[:, 0] += 9
    measured.nearer[:, 0], measured.nearer[:, 1:] = 0, 9
    measured.scores[measured.trials.is_target, 0] += 9
    results = results_of(measured, UTT2SPK, draws=50)
    assert len(results) == 10
    for result in results:
        for gap in result.gaps["relevance"].values():
            assert gap.better is (result.mode == "insertion"), result.measure
    same = made()
    same.cosine[:, 0] = same.cosine[:, 1]
    gap = by_name(results_of(same, UTT2SPK, draws=50))["insertion", "cosine"].gaps["relevance"]["energy"]
    assert gap.difference == 0 and gap.better is None
