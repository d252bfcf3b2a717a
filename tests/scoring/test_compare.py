"""Oracles: trials copied as often as their speakers were drawn, Holm's correction as a closed test, seeds whose
variance is known, systems whose difference is known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from imlkd.scoring.cllr import cllr
from imlkd.scoring.compare import (
    Difference,
    _differences,
    _System,
    compare,
    compare_systems,
    draw_seeds,
    draw_systems,
    gap_closed,
    holm,
)
from imlkd.scoring.intervals import bca_interval
from imlkd.scoring.metrics import Costs, act_dcf, eer, min_dcf
from imlkd.scoring.resampling import SpeakerTrials


def system(seed: int, gain: float, speakers: int = 30) -> SpeakerTrials:
    """Four target trials a speaker, one nontarget trial a pair; ``seed`` draws the noise, the speakers stay."""
    generator = np.random.default_rng(seed)
    enroll, test = np.triu_indices(speakers, 1)
    owner = np.repeat(np.arange(speakers), 4)
    offset = np.random.default_rng(99).normal(0.0, 0.7, speakers)
    target = gain + offset[owner] + generator.normal(0.0, 1.0, len(owner))
    return SpeakerTrials(target, owner, generator.normal(0.0, 1.0, len(enroll)), enroll, test)


def test_differences_of_each_draw_by_copying_trials() -> None:
    first, second = system(1, 2.0, 8), system(2, 1.5, 8)
    generator, gaps = np.random.default_rng(5), []
    for _ in range(40):
        count = np.bincount(generator.choice(np.arange(8), size=8), minlength=8)
        of_target = count[first.target_speaker]
        of_nontarget = count[first.enroll_speaker] * count[first.test_speaker]
        copies = [(s.target.repeat(of_target), s.nontarget.repeat(of_nontarget)) for s in (first, second)]
        values = [(eer(*pair).value, min_dcf(*pair, 0.05).value) for pair in copies]
        gaps.append(np.subtract(*values))
    (result,) = compare_systems([[first], [second]], Costs((0.05,)), 40, 5, "percentile")
    assert result.few_speakers
    for found, gap in zip((result.eer, result.min_dcf[0.05]), np.array(gaps).T, strict=True):
        assert [found.interval.low, found.interval.high] == pytest.approx(np.percentile(gap, [2.5, 97.5]), abs=1e-12)
        assert found.difference == found.first - found.second


@pytest.mark.parametrize(("speakers", "few"), [(19, True), (20, False)])
def test_mark_of_few_speakers(speakers: int, few: bool) -> None:
    found = compare(system(1, 2.0, speakers), system(2, 2.0, speakers), (), draws=5)
    assert found is not None and found.few_speakers is few


def test_a_system_against_itself() -> None:
    result = compare(system(1, 2.0), system(1, 2.0), (0.01,), draws=50)
    assert result is not None
    assert (result.eer.difference, result.eer.interval.low, result.eer.interval.high, result.eer.p) == (0, 0, 0, 1)


def test_a_much_better_system_and_the_order_of_the_two() -> None:
    one, other = compare(system(1, 4.0), system(2, 1.0), (), 200), compare(system(2, 1.0), system(1, 4.0), (), 200)
    assert one is not None and other is not None
    expected = 2 * student.cdf(norm.ppf(1 / 201) / (30 / 29) ** 0.5, 29)
    assert one.eer.interval.high < 0.0 and one.eer.p == pytest.approx(expected, rel=0.01)
    assert (other.eer.difference, other.eer.p) == (-one.eer.difference, one.eer.p)


def test_p_is_below_a_twentieth_where_the_interval_leaves_zero_out() -> None:
    seen = set()
    for seed, gain in itertools.product(range(12), (1.0, 1.4, 2.0)):
        found = compare(system(seed, 2.0, 12), system(seed + 50, gain, 12), (0.5,), 400, seed)
        assert found is not None
        for one in (found.eer, found.min_dcf[0.5]):
            zero_is_out = one.interval.low > 0.0 or one.interval.high < 0.0
            seen.add(zero_is_out)
            assert zero_is_out == (one.p < 0.05) or one.p == pytest.approx(0.05, abs=0.01)
    assert seen == {True, False}


def test_systems_that_hardly_ever_differ_do_not_differ() -> None:
    gaps, point, none = np.zeros((1000, 1)), np.zeros(1), np.empty((0, 1))
    gaps[:9] = 0.01
    systems = _System(point, gaps, none, none, 1), _System(point, 0 * gaps, none, none, 1)
    (found,) = _differences(*systems, "corrected", 30)
    assert (found.interval.low, found.interval.high, found.p) == (0.0, 0.0, 1.0)


def test_any_of_the_systems_drawn_can_be_the_first() -> None:
    systems = [[system(1, 2.0)], [system(2, 1.5)], [system(3, 1.0)]]
    drawn = draw_systems(systems, Costs((0.01,)), draws=60)
    assert drawn.compare(1) == compare_systems([systems[1], systems[0], systems[2]], Costs((0.01,)), draws=60)
    assert drawn.compare(2) == compare_systems([systems[2], systems[0], systems[1]], Costs((0.01,)), draws=60)
    found = drawn.compare()[1].eer
    (first, first_draws), (third, third_draws) = drawn.eer(0), drawn.eer(2)
    assert (first, third) == (found.first, found.second)
    assert len(first_draws) == len(third_draws) == 60 and not np.array_equal(first_draws, third_draws)


def test_other_trials_are_refused() -> None:
    first = system(1, 2.0)
    with pytest.raises(ValueError, match="same trials"):
        compare(first, replace(first, target_speaker=first.target_speaker[::-1]), (0.01,), draws=5)


def test_draws_of_one_speaker_only_have_no_difference() -> None:
    two = SpeakerTrials(np.ones(2), np.array([0, 1]), np.zeros(1), np.array([0]), np.array([1]))
    lone = [len(set(np.random.default_rng(seed).choice(2, size=2))) == 1 for seed in range(20)]
    assert 0 < sum(lone) < 20
    assert [compare(two, two, (), draws=1, seed=seed) is None for seed in range(20)] == lone


def test_two_way_draws_by_copying_trials() -> None:
    """Three seeds against two: each draw copies trials by speaker and averages the seeds that it drew."""
    systems = [[system(seed, 2.0, 8) for seed in (1, 2, 3)], [system(seed, 1.5, 8) for seed in (4, 5)]]
    costs, prices, draws = Costs((0.05,), 2.0, 1.0), (0.05, 2.0, 1.0), 40
    spawned = np.random.SeedSequence(5).spawn(2)
    picks = [draw_seeds(len(runs), draws, own) for runs, own in zip(systems, spawned, strict=True)]
    assert [one.shape for one in picks] == [(40, 2), (40, 1)] and set(picks[0].ravel()) == {0, 1, 2}
    generator, gaps = np.random.default_rng(5), []
    for draw in range(draws):
        count = np.bincount(generator.choice(np.arange(8), size=8), minlength=8)
        means = []
        for runs, chosen in zip(systems, picks, strict=True):
            values = []
            for pair in (copies(runs[index], count) for index in chosen[draw]):
                values.append([eer(*pair)[0], min_dcf(*pair, *prices)[0], act_dcf(*pair, *prices)[0], cllr(*pair)])
            means.append(np.mean(values, axis=0))
        gaps.append(means[0] - means[1])
    (result,) = compare_systems(systems, costs, draws, 5, "percentile", llr=True)
    assert result.seeds == (3, 2) and result.cllr is not None
    found = [result.eer, result.min_dcf[0.05], result.act_dcf[0.05], result.cllr]
    for one, gap in zip(found, np.array(gaps).T, strict=True):
        assert [one.interval.low, one.interval.high] == pytest.approx(np.percentile(gap, [2.5, 97.5]), abs=1e-12)
    expected = [np.mean([cllr(run.target, run.nontarget) for run in runs]) for runs in systems]
    assert [result.cllr.first, result.cllr.second] == pytest.approx(expected, abs=1e-12)


def copies(trials: SpeakerTrials, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Target and nontarget scores, each as often as its speakers' numbers say."""
    of_nontarget = count[trials.enroll_speaker] * count[trials.test_speaker]
    return trials.target.repeat(count[trials.target_speaker]), trials.nontarget.repeat(of_nontarget)


def test_variance_of_seeds_is_that_of_their_mean() -> None:
    values = np.random.default_rng(0).normal(size=4)
    drawn = values[draw_seeds(4, 200_000, np.random.SeedSequence(1))].mean(axis=1)
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.02)
    assert draw_seeds(1, 3, np.random.SeedSequence(1)).tolist() == [[0], [0], [0]]


def test_seeds_that_differ_widen_the_interval_and_equal_ones_do_not() -> None:
    runs = [system(seed, gain) for seed, gain in ((1, 1.0), (2, 2.0), (3, 3.0))]
    other = [system(9, 2.0)]
    (single,), (same,) = (compare_systems([one, other], Costs(()), 200) for one in ([runs[1]], [runs[1]] * 3))
    assert same.eer.interval.low == pytest.approx(single.eer.interval.low, abs=1e-12)
    assert same.eer.interval.high == pytest.approx(single.eer.interval.high, abs=1e-12)
    (varied,) = compare_systems([runs, other], Costs(()), 200)
    width = [one.eer.interval.high - one.eer.interval.low for one in (varied, single)]
    assert width[0] > 1.3 * width[1]


def test_bca_of_a_difference() -> None:
    first, second, costs = system(1, 2.0), system(2, 1.5), Costs(())
    (plain,), (bca,) = (compare_systems([[first], [second]], costs, 100, 1, kind) for kind in ("percentile", "bca"))
    assert (bca.eer.difference, bca.eer.p) == (plain.eer.difference, plain.eer.p)
    generator = np.random.default_rng(1)
    drawn = [np.bincount(generator.choice(np.arange(30), size=30), minlength=30) for _ in range(100)]
    counts = [*drawn, *(1 - np.eye(30, dtype=int))]
    gaps = np.array([np.subtract(*(eer(*copies(one, count)).value for one in (first, second))) for count in counts])
    expected = bca_interval(gaps[:100], plain.eer.difference, gaps[100:])
    assert [bca.eer.interval.low, bca.eer.interval.high] == pytest.approx([expected.low, expected.high], abs=1e-12)
    (varied,) = compare_systems([[first, system(4, 1.8), system(5, 2.2)], [second]], costs, 50, 1, "bca")
    assert varied.eer.interval.low < varied.eer.difference < varied.eer.interval.high
    with pytest.raises(ValueError, match="'basic' is no kind of interval"):
        compare_systems([[first], [second]], costs, 5, 1, "basic")


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(p_values: list[float]) -> None:
    """Adjusted p of one hypothesis: the largest, over all sets that hold it, of Bonferroni's p of the set."""
    indices = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in itertools.combinations(indices, size)]
    for index, found in enumerate(holm(p_values)):
        expected = max(min(1.0, len(one) * min(p_values[i] for i in one)) for one in sets if index in one)
        assert found == pytest.approx(expected, abs=1e-12)


def test_each_measure_is_corrected_for_its_comparisons() -> None:
    systems = [[system(seed, gain)] for seed, gain in ((1, 2.0), (2, 1.8), (3, 1.0), (4, 2.1))]
    found = compare_systems(systems, Costs((0.05, 0.5)), 100, llr=True)
    columns: list[list[Difference | None]] = [[one.eer for one in found], [one.cllr for one in found]]
    columns += [[one.min_dcf[prior] for one in found] for prior in (0.05, 0.5)]
    columns += [[one.act_dcf[prior] for one in found] for prior in (0.05, 0.5)]
    for column in columns:
        differences = [one for one in column if one]
        assert len(differences) == 3
        assert [one.p_holm for one in differences] == holm([one.p for one in differences])
    assert any(one.eer.p_holm > one.eer.p for one in found)
    alone = compare(systems[0][0], systems[2][0], (0.05,), 100)
    assert alone is not None and alone.eer.p_holm == alone.eer.p == found[1].eer.p


def test_gap_closed() -> None:
    assert gap_closed(0.10, 0.07, 0.05) == pytest.approx(0.6)
    assert gap_closed(0.05, 0.04, 0.05) is None
