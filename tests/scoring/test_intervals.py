"""Oracles: trials literally copied as often as their speakers were drawn, cases by hand, coverage on simulated sets."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.scoring.intervals import (
    Interval,
    SpeakerTrials,
    _resampled_rates,
    draw_speakers,
    speaker_bootstrap,
)
from imlkd.scoring.metrics import crossing, eer, min_dcf, normalised_cost


def simulate(speakers: int, seed: int, own: int = 10, step: float = 0.05) -> SpeakerTrials:
    """Every speaker shifts its own target and nontarget scores; all pairs of speakers are compared once."""
    generator = np.random.default_rng(seed)
    quality, lamb = generator.normal(0.0, 0.7, speakers), generator.normal(0.0, 0.5, speakers)
    target_speaker = np.repeat(np.arange(speakers), own)
    first, second = np.triu_indices(speakers, k=1)
    target = 2.5 + quality[target_speaker] + generator.normal(0.0, 1.0, len(target_speaker))
    nontarget = lamb[first] + lamb[second] + generator.normal(0.0, 1.0, len(first))
    if step:  # rounded, so that scores tie
        target, nontarget = np.round(target / step) * step, np.round(nontarget / step) * step
    return SpeakerTrials(target, target_speaker, nontarget, first.astype(np.int64), second.astype(np.int64))


def copied(trials: SpeakerTrials, drawn: list[int]) -> tuple[list[float], list[float]]:
    """Scores of the resampled set, trial by trial: one copy for each (pair of) drawn speaker(s)."""
    target = [
        score
        for one in drawn
        for score, speaker in zip(trials.target.tolist(), trials.target_speaker, strict=True)
        if speaker == one
    ]
    nontarget = [
        score
        for one in drawn
        for other in drawn
        for score, enroll, test in zip(
            trials.nontarget.tolist(), trials.enroll_speaker, trials.test_speaker, strict=True
        )
        if (enroll, test) == (one, other)
    ]
    return target, nontarget


@given(drawn=st.lists(st.integers(0, 5), min_size=6, max_size=6), seed=st.integers(0, 20))
def test_weights_are_copies_of_trials(drawn: list[int], seed: int) -> None:
    trials = simulate(6, seed, own=3, step=0.5)
    target, nontarget = copied(trials, drawn)
    rates = list(_resampled_rates(trials, iter([np.bincount(drawn, minlength=6)])))
    assert len(rates) == bool(target and nontarget)
    for miss, false_alarm in rates:
        assert crossing(miss, false_alarm)[0] == pytest.approx(eer(target, nontarget).value, abs=1e-12)
        for p_target in (0.01, 0.3):
            cost = normalised_cost(miss, false_alarm, p_target).min()
            assert cost == pytest.approx(min_dcf(target, nontarget, p_target).value, abs=1e-12)


def test_whole_interval_against_copies() -> None:
    trials, draws, seed = simulate(8, 1, own=4), 60, 7
    values = []
    for counts in draw_speakers(trials.speakers(), draws, seed):
        target, nontarget = copied(trials, np.repeat(np.arange(8), counts).tolist())
        values.append((eer(target, nontarget).value, min_dcf(target, nontarget, 0.1).value))
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    result = speaker_bootstrap(trials, (0.1,), draws, seed)
    assert result is not None
    assert (result.eer.low, result.eer.high) == pytest.approx((low[0], high[0]), abs=1e-12)
    assert (result.min_dcf[0.1].low, result.min_dcf[0.1].high) == pytest.approx((low[1], high[1]), abs=1e-12)
    assert (result.speakers, result.draws, result.few_speakers) == (8, draws, True)


def test_by_hand() -> None:
    # Speakers 0 and 1. Targets: 0 scores 3 (speaker 0) and 1 (speaker 1); nontargets of the two: 0 and 2.
    # Only the draw (0, 1) in either order has nontargets, and then each trial counts once: EER 0.5, always.
    # The draws (0, 0) and (1, 1), about half, have none and do not count.
    trials = SpeakerTrials(
        np.array([3.0, 1.0]), np.array([0, 1]), np.array([0.0, 2.0]), np.array([0, 1]), np.array([1, 0])
    )
    result = speaker_bootstrap(trials, (0.5,), draws=400, seed=0)
    assert result is not None
    assert result.eer == Interval(0.5, 0.5)
    assert result.min_dcf == {0.5: Interval(0.5, 0.5)}
    assert 150 < result.draws < 250


def test_weights_by_hand() -> None:
    # Speaker 0 drawn twice, speaker 1 once, speaker 2 never. Targets: 1 (speaker 0, twice), 3 (speaker 1), 0 (dropped).
    # Nontargets: 2 of (0, 1), twice; 9 of (1, 2), dropped. Corners: accept all, from 2, from 3 on.
    trials = SpeakerTrials(
        np.array([1.0, 3.0, 0.0]), np.array([0, 1, 2]), np.array([2.0, 9.0]), np.array([0, 1]), np.array([1, 2])
    )
    ((miss, false_alarm),) = _resampled_rates(trials, iter([np.array([2, 1, 0])]))
    points = set(zip(miss.tolist(), false_alarm.tolist(), strict=True))
    assert {(0.0, 1.0), (2 / 3, 1.0), (2 / 3, 0.0), (1.0, 0.0)} <= points
    assert crossing(miss, false_alarm)[0] == pytest.approx(2 / 3)


def test_same_seed_same_interval() -> None:
    trials = simulate(15, 3)
    assert speaker_bootstrap(trials, (0.01,), 50, 4) == speaker_bootstrap(trials, (0.01,), 50, 4)
    assert speaker_bootstrap(trials, (0.01,), 50, 4) != speaker_bootstrap(trials, (0.01,), 50, 5)


def test_order_of_trials_does_not_matter() -> None:
    trials = simulate(12, 3)
    t = np.random.default_rng(0).permutation(len(trials.target))
    n = np.random.default_rng(1).permutation(len(trials.nontarget))
    targets = trials.target[t], trials.target_speaker[t]
    shuffled = SpeakerTrials(*targets, trials.nontarget[n], trials.enroll_speaker[n], trials.test_speaker[n])
    assert speaker_bootstrap(shuffled, (0.01,), 50) == speaker_bootstrap(trials, (0.01,), 50)


def test_interval_holds_the_point_estimate_and_mark_of_few_speakers() -> None:
    for speakers, few in ((19, True), (20, False)):
        trials = simulate(speakers, speakers)
        result = speaker_bootstrap(trials, (0.01,), 200)
        assert result is not None
        assert result.few_speakers is few
        assert result.eer.low < eer(trials.target, trials.nontarget).value < result.eer.high
        assert result.min_dcf[0.01].low <= min_dcf(trials.target, trials.nontarget, 0.01).value


def test_no_draws_no_interval() -> None:
    assert speaker_bootstrap(simulate(5, 0), (0.01,), draws=0) is None


@pytest.mark.slow
def test_coverage_on_simulated_speakers() -> None:
    """About 95 % of the intervals hold the endless population's error rate; slack: three standard errors."""
    spread_target, spread_nontarget = (1 + 0.7**2) ** 0.5, (1 + 2 * 0.5**2) ** 0.5
    truth = NormalDist().cdf(-2.5 / (spread_target + spread_nontarget))
    sets = 400
    inside = 0
    for seed in range(sets):
        result = speaker_bootstrap(simulate(50, seed, step=0.0), (), draws=300, seed=seed)
        assert result is not None
        inside += result.eer.low <= truth <= result.eer.high
    assert 0.917 * sets <= inside <= 0.983 * sets
