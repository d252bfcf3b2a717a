"""Oracles: trials literally copied as often as their speakers were drawn, cases by hand, coverage on simulated sets."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import gmean, norm
from scipy.stats import t as student

from imlkd.scoring.cllr import cllr
from imlkd.scoring.intervals import (
    Interval,
    bca_interval,
    bias_ratios,
    intervals_of,
    limited_interval,
    narrowed,
    percentile_interval,
    speaker_bootstrap,
    widened,
    widened_interval,
)
from imlkd.scoring.metrics import Costs, act_dcf, eer, min_dcf
from imlkd.scoring.resampling import SpeakerTrials, WeightedTrials, draw_speakers, leave_one_out, point_values, resample


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


@given(
    drawn=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    seed=st.integers(0, 20),
    prices=st.sampled_from([(1.0, 1.0), (10.0, 1.0), (1.0, 3.0)]),
)
def test_weights_are_copies_of_trials(drawn: list[int], seed: int, prices: tuple[float, float]) -> None:
    trials, costs = simulate(6, seed, own=3, step=0.5), Costs((0.01, 0.5), *prices)  # at 0.5 scores lie on it
    target, nontarget = copied(trials, drawn)
    found = resample(trials, [np.bincount(drawn, minlength=6)], costs, llr=True)
    assert len(found.values) == len(found.thresholds) == bool(target and nontarget)
    for values, thresholds in zip(found.values, found.thresholds, strict=True):
        expected = [eer(target, nontarget), *(min_dcf(target, nontarget, p, *prices) for p in costs.p_targets)]
        actual = [act_dcf(target, nontarget, p, *prices).value for p in costs.p_targets]
        everything = [*(one.value for one in expected), *actual, cllr(target, nontarget)]
        assert values == pytest.approx(everything, abs=1e-12)
        assert decisions(target, nontarget, thresholds[0]) == decisions(target, nontarget, expected[0].threshold)
        for threshold, p_target, least in zip(thresholds[1:], costs.p_targets, values[1:3], strict=True):
            miss, false_alarm = decisions(target, nontarget, threshold)
            weights = prices[0] * p_target, prices[1] * (1 - p_target)
            cost = (weights[0] * miss / len(target) + weights[1] * false_alarm / len(nontarget)) / min(weights)
            assert cost == pytest.approx(least, abs=1e-12)


def decisions(target: list[float], nontarget: list[float], threshold: float) -> tuple[int, int]:
    """Misses and false alarms of a threshold."""
    return sum(score < threshold for score in target), sum(score >= threshold for score in nontarget)


def test_threshold_of_a_tiny_long_run() -> None:
    # One target at 5 among nontargets 0..9, another at 20: the crossing lies inside a run of nontargets, whose points
    # are no corners of the ROC: missing one target is 1/2, so half of the nontargets may pass: from score 5 on.
    trials = SpeakerTrials(
        np.array([2.5, 20.0]), np.array([0, 1]), np.arange(10.0), np.zeros(10, dtype=int), np.ones(10, dtype=int)
    )
    found = resample(trials, [np.array([1, 1])], Costs(()))
    assert found.values.tolist() == [[0.5]] and found.thresholds.tolist() == [[5.0]]
    assert tuple(eer(trials.target, trials.nontarget)) == (0.5, 5.0)


def test_whole_interval_against_copies() -> None:
    trials, draws, seed = simulate(8, 1, own=4), 60, 7
    values = []
    for counts in draw_speakers(trials.speakers(), draws, seed):
        target, nontarget = copied(trials, np.repeat(np.arange(8), counts).tolist())
        values.append((eer(target, nontarget).value, min_dcf(target, nontarget, 0.1).value))
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    result = speaker_bootstrap(trials, Costs((0.1,)), draws, seed, method="percentile")
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
    result = speaker_bootstrap(trials, Costs((0.5,)), draws=400, seed=0)
    assert result is not None
    for interval in (result.eer, result.min_dcf[0.5]):
        assert (interval.low, interval.high) == pytest.approx((0.5, 0.5), abs=1e-12)
    assert 150 < result.draws < 250


def test_weights_by_hand() -> None:
    # Speaker 0 drawn twice, speaker 1 once, speaker 2 never. Targets: 1 (speaker 0, twice), 3 (speaker 1), 0 (dropped).
    # Nontargets: 2 of (0, 1), twice; 9 of (1, 2), dropped. Corners: accept all, from 2, from 3 on.
    trials = SpeakerTrials(
        np.array([1.0, 3.0, 0.0]), np.array([0, 1, 2]), np.array([2.0, 9.0]), np.array([0, 1]), np.array([1, 2])
    )
    found = resample(trials, [np.array([2, 1, 0])], Costs((0.5,)))
    # Corners (miss, false alarm): (0, 1), (2/3, 1), (2/3, 0), (1, 0): EER 2/3; at p = 0.5 the least cost is 2/3.
    assert found.values.tolist() == [pytest.approx([2 / 3, 2 / 3])]


def test_corrected_interval_is_made_of_moved_draws() -> None:
    trials, costs = simulate(12, 1), Costs((0.1,))
    drawn = resample(trials, draw_speakers(trials.speakers(), 300, 3), costs, llr=True).values
    whole = np.array(point_values(trials, costs, llr=True))
    lists = trials.target, trials.nontarget
    assert whole == pytest.approx([eer(*lists)[0], min_dcf(*lists, 0.1)[0], act_dcf(*lists, 0.1)[0], cllr(*lists)])
    tail, whole_tail = norm.cdf(-student.ppf([0.975, 0.95], 11) * (12 / 11) ** 0.5)
    typical = np.array([gmean(column[column > 0.0]) for column in drawn.T])
    low, high, other = np.quantile(drawn * (whole / typical) ** 2, [tail, 1 - tail, whole_tail], axis=0)
    beyond = (drawn * (whole / typical) ** 2 >= 1.0).mean(0) / 4.0
    assert beyond[0] == 0.0 and beyond[1] > whole_tail  # the minDCF's lower end leaves out all of the 5 %
    low[1] = other[1]
    result = speaker_bootstrap(trials, costs, 300, 3, llr=True)
    assert result is not None and result.cllr is not None
    found = [result.eer, result.min_dcf[0.1], result.act_dcf[0.1], result.cllr]
    assert [one.low for one in found] == pytest.approx(low, rel=3e-3)
    assert [one.high for one in found] == pytest.approx(high.clip(max=[1, 1, np.inf, np.inf]), rel=3e-3)


def test_bias_of_draws_by_hand() -> None:
    # sqrt(0.05 * 0.2) is half of 0.2; nothing is known without errors; a draw without any does not count.
    values = np.array([[0.05, 0.0, 0.3], [0.2, 0.0, 0.0]])
    assert bias_ratios(values, np.array([0.2, 0.0, 0.2])).tolist() == pytest.approx([0.5, 1.0, 1.5])


def test_no_corrected_rate_is_above_one() -> None:
    trials = simulate(5, 3, own=2)
    down = SpeakerTrials(-trials.target, trials.target_speaker, trials.nontarget, *speakers_of(trials))
    result = speaker_bootstrap(down, Costs((0.5,)), 100)
    assert result is not None and result.min_dcf[0.5].high == 1.0 >= result.eer.high


@pytest.mark.parametrize("speakers", [7, 20, 50, 1251])
def test_widening_against_student(speakers: int) -> None:
    for tail in (0.001, 0.025, 0.2, 0.6):
        expected = student.ppf(tail, speakers - 1) * (speakers / (speakers - 1)) ** 0.5
        assert widened(norm.ppf(tail), speakers) == pytest.approx(expected, rel=0.02 if tail == 0.001 else 0.003)
        assert narrowed(widened(norm.ppf(tail), speakers), speakers) == pytest.approx(norm.ppf(tail))


@pytest.mark.parametrize(("share", "left_out"), [(0.0, 2.5), (0.09, 2.5), (0.16, 4.0), (0.5, 5.0)])
def test_an_upper_end_at_the_limit_gives_of_its_share_to_the_lower_one(share: float, left_out: float) -> None:
    values = np.minimum(np.linspace(0.0, 1.0, 100_001) + share, 1.0)
    found = limited_interval(values, 100_000)
    assert found.low == pytest.approx(share + left_out / 100, abs=1e-4)
    assert found.high == pytest.approx(min(1.0, share + 0.975), abs=1e-4)


def test_groups_that_are_drawn_by_themselves() -> None:
    """Means over four groups of eight normal values: of a thousand such sets how many intervals hold the truth."""
    generator = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(1000):
        groups = generator.normal(size=(4, 8))
        picks = generator.integers(0, 8, (400, 4, 8))
        means = np.take_along_axis(groups[None], picks, axis=2).mean(axis=(1, 2))
        both = widened_interval(means, 32, 4), percentile_interval(means)
        held += [one.low <= 0.0 <= one.high for one in both]
    assert 935 <= held[0] <= 965 and held[1] < 930
    expected = student.ppf(0.975, 8) * (12 / 8) ** 0.5
    assert widened(norm.ppf(0.975), 12, 4) == pytest.approx(expected, rel=0.003)
    assert narrowed(widened(1.3, 12, 4), 12, 4) == pytest.approx(1.3)


def test_same_seed_same_interval() -> None:
    trials = simulate(15, 3)
    assert speaker_bootstrap(trials, Costs((0.01,)), 50, 4) == speaker_bootstrap(trials, Costs((0.01,)), 50, 4)
    assert speaker_bootstrap(trials, Costs((0.01,)), 50, 4) != speaker_bootstrap(trials, Costs((0.01,)), 50, 5)


def test_order_of_trials_does_not_matter() -> None:
    trials = simulate(12, 3)
    t = np.random.default_rng(0).permutation(len(trials.target))
    n = np.random.default_rng(1).permutation(len(trials.nontarget))
    targets = trials.target[t], trials.target_speaker[t]
    shuffled = SpeakerTrials(*targets, trials.nontarget[n], trials.enroll_speaker[n], trials.test_speaker[n])
    assert speaker_bootstrap(shuffled, Costs((0.01,)), 50) == speaker_bootstrap(trials, Costs((0.01,)), 50)


def test_interval_holds_the_point_estimate_and_mark_of_few_speakers() -> None:
    for speakers, few in ((19, True), (20, False)):
        trials = simulate(speakers, speakers)
        result = speaker_bootstrap(trials, Costs((0.01,)), 200)
        assert result is not None
        assert result.few_speakers is few
        assert result.eer.low < eer(trials.target, trials.nontarget).value < result.eer.high
        assert result.min_dcf[0.01].low <= min_dcf(trials.target, trials.nontarget, 0.01).value


def test_no_draws_no_interval() -> None:
    assert speaker_bootstrap(simulate(5, 0), Costs((0.01,)), draws=0) is None


def test_bca_against_scipy() -> None:
    """The mean of skewed values: scipy's draws are not ours, so it is given our draws' distribution by its own."""
    values = np.random.default_rng(3).exponential(1.0, 40)
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(0))
    without = np.array([np.delete(values, i).mean() for i in range(len(values))])
    ours = bca_interval(theirs.bootstrap_distribution, float(values.mean()), without)
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), abs=1e-12)
    plain = percentile_interval(theirs.bootstrap_distribution)
    assert ours.low > plain.low and ours.high > plain.high  # it leans to the long tail


def test_bca_of_a_symmetric_case_is_the_percentile_interval() -> None:
    values = np.linspace(-1.0, 1.0, 1001)
    found, plain = bca_interval(values, 0.0, np.array([-1.0, 0.0, 1.0])), percentile_interval(values)
    assert [found.low, found.high] == pytest.approx([plain.low, plain.high], abs=1e-9)


def test_bca_of_draws_that_never_move() -> None:
    assert bca_interval(np.full(50, 0.25), 0.25, np.full(9, 0.25)) == Interval(0.25, 0.25)
    beyond = bca_interval(np.linspace(0.0, 1.0, 100), 2.0, np.arange(9.0))  # an estimate that no draw reaches
    assert 0.9 < beyond.low <= beyond.high == pytest.approx(1.0)


def test_jackknife_leaves_out_each_speaker_and_all_its_trials() -> None:
    trials, costs = simulate(7, 2, own=3), Costs((0.1,))
    found = resample(trials, leave_one_out(trials.speakers()), costs).values
    for speaker, (rate, cost) in enumerate(found.tolist()):
        kept = (trials.enroll_speaker != speaker) & (trials.test_speaker != speaker)
        lists = trials.target[trials.target_speaker != speaker], trials.nontarget[kept]
        assert (rate, cost) == pytest.approx((eer(*lists).value, min_dcf(*lists, 0.1).value), abs=1e-12)


def test_bca_of_speakers_is_made_of_draws_and_jackknife() -> None:
    trials, costs = simulate(25, 5), Costs((0.1,))
    drawn = resample(trials, draw_speakers(trials.speakers(), 200, 3), costs, llr=True).values
    without = resample(trials, leave_one_out(trials.speakers()), costs, llr=True).values
    whole = WeightedTrials(trials, costs, llr=True).measure(np.ones(25, dtype=int))
    assert whole is not None and whole[0][0] == eer(trials.target, trials.nontarget).value
    expected = [bca_interval(*columns) for columns in zip(drawn.T, whole[0], without.T, strict=True)]
    result = speaker_bootstrap(trials, costs, 200, 3, method="bca", llr=True)
    assert result is not None and result.cllr is not None
    assert [result.eer, result.min_dcf[0.1], result.act_dcf[0.1], result.cllr] == expected
    plain = speaker_bootstrap(trials, costs, 200, 3, llr=True)
    assert plain is not None and plain.eer != result.eer
    assert plain.eer_threshold == result.eer_threshold


def test_thresholds_move_with_the_draws() -> None:
    trials, costs, seed = simulate(12, 4), Costs((0.1,)), 6
    result = speaker_bootstrap(trials, costs, 200, seed)
    assert result is not None
    drawn = resample(trials, draw_speakers(trials.speakers(), 200, seed), costs).thresholds
    for interval, column in zip((result.eer_threshold, result.min_dcf_threshold[0.1]), drawn.T, strict=True):
        assert {interval.low, interval.high} <= set(column.tolist())
        assert (column < interval.low).mean() <= 0.025 <= (column <= interval.low).mean()
        assert (column < interval.high).mean() <= 0.975 <= (column <= interval.high).mean()
    # Upside down, every draw rejects all: the bounds are infinite, not NaN.
    down = SpeakerTrials(-trials.target - 9.0, trials.target_speaker, trials.nontarget, *speakers_of(trials))
    result = speaker_bootstrap(down, costs, 50, seed)
    assert result is not None and result.min_dcf_threshold[0.1] == Interval(np.inf, np.inf)


def speakers_of(trials: SpeakerTrials) -> tuple[np.ndarray, np.ndarray]:
    return trials.enroll_speaker, trials.test_speaker


def test_unknown_kind_of_interval() -> None:
    trials = simulate(5, 0)
    with pytest.raises(ValueError, match="'basic' is no kind of interval: expected one of corrected, bca, percentile"):
        intervals_of(trials, np.zeros((3, 1)), Costs(()), "basic")


@pytest.mark.slow
def test_coverage_on_simulated_speakers() -> None:
    """About 95 % of the intervals hold the endless population's error rate; slack: three standard errors."""
    spread_target, spread_nontarget = (1 + 0.7**2) ** 0.5, (1 + 2 * 0.5**2) ** 0.5
    truth = NormalDist().cdf(-2.5 / (spread_target + spread_nontarget))
    sets = 400
    inside = 0
    for seed in range(sets):
        result = speaker_bootstrap(simulate(50, seed, step=0.0), Costs(()), draws=300, seed=seed)
        assert result is not None
        inside += result.eer.low <= truth <= result.eer.high
    assert 0.917 * sets <= inside <= 0.983 * sets
