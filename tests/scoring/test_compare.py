"""Oracles: trials literally copied as often as their speakers were drawn; systems whose difference is known."""

from dataclasses import replace

import numpy as np
import pytest

from imlkd.scoring.compare import compare
from imlkd.scoring.metrics import eer, min_dcf
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
    result = compare(first, second, (0.05,), draws=40, seed=5)
    assert result is not None and result.few_speakers
    for found, gap in zip((result.eer, result.min_dcf[0.05]), np.array(gaps).T, strict=True):
        assert [found.interval.low, found.interval.high] == pytest.approx(np.percentile(gap, [2.5, 97.5]), abs=1e-12)
        assert found.difference == found.first - found.second


def test_a_system_against_itself() -> None:
    result = compare(system(1, 2.0), system(1, 2.0), (0.01,), draws=50)
    assert result is not None
    assert (result.eer.difference, result.eer.interval.low, result.eer.interval.high, result.eer.p) == (0, 0, 0, 1)


def test_a_much_better_system_and_the_order_of_the_two() -> None:
    one, other = compare(system(1, 4.0), system(2, 1.0), (), 200), compare(system(2, 1.0), system(1, 4.0), (), 200)
    assert one is not None and other is not None
    assert one.eer.interval.high < 0.0 and one.eer.p == pytest.approx(2 / 201)
    assert (other.eer.difference, other.eer.p) == (-one.eer.difference, one.eer.p)


def test_other_trials_are_refused() -> None:
    first = system(1, 2.0)
    with pytest.raises(ValueError, match="same trials"):
        compare(first, replace(first, target_speaker=first.target_speaker[::-1]), (0.01,), draws=5)


def test_draws_of_one_speaker_only_have_no_difference() -> None:
    two = SpeakerTrials(np.ones(2), np.array([0, 1]), np.zeros(1), np.array([0]), np.array([1]))
    lone = [len(set(np.random.default_rng(seed).choice(2, size=2))) == 1 for seed in range(20)]
    assert 0 < sum(lone) < 20
    assert [compare(two, two, (), draws=1, seed=seed) is None for seed in range(20)] == lone
