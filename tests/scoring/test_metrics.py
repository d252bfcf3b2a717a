"""Oracles: scikit-learn's ROC, brute force over thresholds and over pairs of ROC points, lists worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import det_curve, roc_curve

from imlkd.scoring.metrics import (
    SortedScores,
    act_dcf,
    eer,
    eer_kaldi,
    eer_rocch,
    format_eer_kaldi,
    min_dcf,
    rates_of,
)

TIED = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)
SMOOTH = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40)
SCORES = st.one_of(TIED, SMOOTH)


def roc_points(target: list[float], nontarget: list[float]) -> list[tuple[float, float]]:
    """(miss, false alarm) at every threshold, counted one by one."""
    thresholds = [*sorted({*target, *nontarget}), math.inf]
    return [
        (sum(s < t for s in target) / len(target), sum(s >= t for s in nontarget) / len(nontarget)) for t in thresholds
    ]


def kaldi_loop(target: list[float], nontarget: list[float]) -> tuple[float, float]:
    """The algorithm of compute-eer as a plain loop."""
    target, nontarget = sorted(target), sorted(nontarget)
    i = 0
    while i + 1 < len(target):
        if nontarget[max(0, len(nontarget) - 1 - int(len(nontarget) * i / len(target)))] < target[i]:
            break
        i += 1
    return i / len(target), target[i]


def random_scores(seed: int, targets: int = 300, nontargets: int = 700) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(1.5, 1.0, targets).round(2), generator.normal(0.0, 1.2, nontargets).round(2)


# Each worked out on paper: targets, nontargets, EER, EER on the hull, EER as Kaldi finds it.
BY_HAND = [
    ([2, 3], [0, 1], 0.0, 0.0, 0.0),  # separable
    ([0, 1], [2, 3], 1.0, 0.5, 0.5),  # upside down; the hull is the diagonal, Kaldi's loop ends at its last target
    ([1], [1], 0.5, 0.5, 0.0),  # one tie; a single target is never compared
    ([1, 1, 1], [1, 1], 0.5, 0.5, 2 / 3),  # all tied
    ([1, 3], [0, 2], 0.5, 0.25, 0.5),  # ROC corners (0, .5) and (.5, 0): crossing of their chord at .25
    ([0, 2, 3, 4], [-1, 1, -2, 0.5], 0.25, 1 / 6, 0.25),  # chord from (0, .5) to (.25, 0) meets the diagonal at 1/6
    ([1, 2], [1, 0], 0.25, 0.25, 0.5),  # the tie at 1 is a slanted step from (0, .5) to (.5, 0)
]


@pytest.mark.parametrize(("target", "nontarget", "linear", "hull", "kaldi"), BY_HAND)
def test_hand_computed_lists(target, nontarget, linear, hull, kaldi) -> None:  # type: ignore[no-untyped-def]
    assert eer(target, nontarget).value == pytest.approx(linear, abs=1e-12)
    assert eer_rocch(target, nontarget) == pytest.approx(hull, abs=1e-12)
    assert eer_kaldi(target, nontarget).value == pytest.approx(kaldi, abs=1e-12)


def test_threshold_halfway_between_two_points_is_the_higher_one() -> None:
    # From score 1 on (0, 1/2), from 2 on (1/2, 0): the crossing (1/4, 1/4) is as near to both.
    assert tuple(eer([1, 2], [0, 1])) == (0.25, 2.0)


@given(target=SCORES, nontarget=SCORES)
def test_error_rates_are_counts_at_each_threshold(target: list[float], nontarget: list[float]) -> None:
    miss, false_alarm = rates_of(SortedScores(target, nontarget).thresholds)
    assert list(zip(miss.tolist(), false_alarm.tolist(), strict=True)) == roc_points(target, nontarget)


@pytest.mark.parametrize("seed", range(20))
def test_eer_against_scikit_learn(seed: int) -> None:
    target, nontarget = random_scores(seed)
    labels = np.repeat([1, 0], [len(target), len(nontarget)])
    false_alarm, hit, _ = roc_curve(labels, np.concatenate([target, nontarget]), drop_intermediate=False)
    expected = brentq(lambda rate: 1.0 - rate - interp1d(false_alarm, hit)(rate), 0.0, 1.0)
    assert eer(target, nontarget).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_error_rates_against_scikit_learn(seed: int) -> None:
    target, nontarget = random_scores(seed)
    labels = np.repeat([1, 0], [len(target), len(nontarget)])
    false_alarm, miss, thresholds = det_curve(labels, np.concatenate([target, nontarget]))
    found = SortedScores(target, nontarget).thresholds
    ours = dict(zip(found.scores, zip(*rates_of(found), strict=True), strict=True))
    for score, m, f in zip(thresholds, miss, false_alarm, strict=True):
        assert ours[score] == pytest.approx((m, f), abs=1e-12)


@given(target=SCORES, nontarget=SCORES)
def test_eer_lies_between_its_neighbours(target: list[float], nontarget: list[float]) -> None:
    points = roc_points(target, nontarget)
    after = next(i for i, (miss, false_alarm) in enumerate(points) if miss >= false_alarm)
    (miss0, fa0), (miss1, fa1) = points[after - 1], points[after]
    value, threshold = eer(target, nontarget)
    assert max(miss0, fa1) - 1e-12 <= value <= min(miss1, fa0) + 1e-12
    assert threshold in {*target, *nontarget}


@given(target=TIED, nontarget=TIED)
def test_rocch_is_the_lowest_crossing_of_any_two_points(target: list[float], nontarget: list[float]) -> None:
    crossings = []
    for (m0, f0), (m1, f1) in itertools.combinations_with_replacement(roc_points(target, nontarget), 2):
        gap0, gap1 = m0 - f0, m1 - f1
        if gap0 == 0:
            crossings.append(m0)
        elif gap0 < 0 <= gap1:
            crossings.append(m0 + (m1 - m0) * -gap0 / (gap1 - gap0))
    assert eer_rocch(target, nontarget) == pytest.approx(min(crossings), abs=1e-9)


@given(target=SCORES, nontarget=SCORES)
def test_rocch_is_never_above_the_interpolated_rate(target: list[float], nontarget: list[float]) -> None:
    assert eer_rocch(target, nontarget) <= eer(target, nontarget).value + 1e-12


@given(target=SCORES, nontarget=SCORES)
def test_eer_kaldi_is_the_loop_of_compute_eer(target: list[float], nontarget: list[float]) -> None:
    assert tuple(eer_kaldi(target, nontarget)) == kaldi_loop(target, nontarget)


@pytest.mark.parametrize("seed", range(5))
def test_eer_kaldi_differs_by_at_most_one_target(seed: int) -> None:
    generator = np.random.default_rng(seed)
    target, nontarget = generator.normal(1.5, 1.0, 500), generator.normal(0.0, 1.2, 5000)  # no ties
    assert abs(eer_kaldi(target, nontarget).value - eer(target, nontarget).value) <= 1 / len(target)


def test_eer_kaldi_compares_in_single_precision() -> None:
    # 1 and 1 + 1e-9 are the same float32, so the first target is not above the first nontarget.
    assert eer_kaldi([1 + 1e-9, 2.0], [0.0, 1.0]).value == 0.5


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0"), (1 / 3, "33.33"), (0.03128, "3.128"), (0.5, "50"), (1e-5, "0.001")]
)
def test_kaldi_print(rate: float, text: str) -> None:
    assert format_eer_kaldi(rate) == text


@given(target=SCORES, nontarget=SCORES, p_target=st.floats(0.001, 0.999), c_miss=st.sampled_from([1.0, 10.0]))
def test_min_dcf_by_brute_force(target: list[float], nontarget: list[float], p_target: float, c_miss: float) -> None:
    costs = [c_miss * p_target * miss + (1 - p_target) * fa for miss, fa in roc_points(target, nontarget)]
    expected = min(costs) / min(c_miss * p_target, 1 - p_target)
    value, threshold = min_dcf(target, nontarget, p_target, c_miss=c_miss)
    assert value == pytest.approx(expected, abs=1e-12)
    miss = sum(score < threshold for score in target) / len(target)
    false_alarm = sum(score >= threshold for score in nontarget) / len(nontarget)
    cost_there = (c_miss * p_target * miss + (1 - p_target) * false_alarm) / min(c_miss * p_target, 1 - p_target)
    assert cost_there == pytest.approx(value, abs=1e-12)


def test_min_dcf_by_hand() -> None:
    # Accepting 3 and 4 only: half of the targets missed, no false alarm: 0.5. Accepting 1 as well: 1/4 * 0.99 / 0.01.
    assert min_dcf([1, 3, 4, 0], [2, 0.5, 0, -1], 0.01).value == pytest.approx(0.5)
    # p = 0.5: accept from 1: miss 1/4, false alarm 1/4, cost 0.5; from 3: miss 1/2, cost 0.5. The lower one is named.
    assert tuple(min_dcf([1, 3, 4, 0], [2, 0.5, 0, -1], 0.5)) == (0.5, 1.0)


@given(target=SCORES, nontarget=SCORES, p_target=st.floats(0.001, 0.999))
def test_min_dcf_is_at_most_one(target: list[float], nontarget: list[float], p_target: float) -> None:
    assert 0.0 <= min_dcf(target, nontarget, p_target).value <= 1.0


def test_min_dcf_of_useless_scores_rejects_all() -> None:
    assert tuple(min_dcf([0, 0], [1, 1], 0.01)) == (1.0, math.inf)


@given(target=SMOOTH, nontarget=SMOOTH)
def test_rates_do_not_depend_on_the_scale_of_scores(target: list[float], nontarget: list[float]) -> None:
    scaled = [8.0 * s for s in target], [8.0 * s for s in nontarget]
    assert eer(*scaled).value == eer(target, nontarget).value
    assert min_dcf(*scaled, 0.01).value == min_dcf(target, nontarget, 0.01).value


@pytest.mark.parametrize("measure", [eer, eer_rocch, eer_kaldi, lambda t, n: min_dcf(t, n, 0.01)])
@pytest.mark.parametrize(("target", "nontarget"), [([], [1]), ([1], []), ([math.nan], [1]), ([1], [math.inf])])
def test_unusable_scores_are_refused(measure, target, nontarget) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="scores"):
        measure(target, nontarget)


@pytest.mark.parametrize("bad", [{"p_target": 0.0}, {"p_target": 1.0}, {"p_target": 0.1, "c_miss": 0.0}])
def test_costs_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        min_dcf([1.0], [0.0], **bad)


@given(target=SCORES, nontarget=SCORES, p_target=st.floats(0.001, 0.999), c_fa=st.sampled_from([1.0, 10.0]))
def test_act_dcf_by_counting(target: list[float], nontarget: list[float], p_target: float, c_fa: float) -> None:
    value, threshold = act_dcf(target, nontarget, p_target, c_fa=c_fa)
    assert threshold == pytest.approx(math.log(c_fa * (1 - p_target) / p_target), abs=1e-12)
    miss = sum(score < threshold for score in target) / len(target)
    false_alarm = sum(score >= threshold for score in nontarget) / len(nontarget)
    cost = p_target * miss + c_fa * (1 - p_target) * false_alarm
    assert value == pytest.approx(cost / min(p_target, c_fa * (1 - p_target)), abs=1e-9)
    assert value >= min_dcf(target, nontarget, p_target, c_fa=c_fa).value - 1e-12


def test_act_dcf_by_hand() -> None:
    # Threshold log 99 = 4.6: one of two targets missed, one of four nontargets accepted: 0.5 + 99 / 4.
    assert act_dcf([4.0, 5.0], [5.0, 0.0, 1.0, 4.5], 0.01).value == pytest.approx(25.25)


def test_a_score_at_the_threshold_is_accepted() -> None:
    assert tuple(act_dcf([0.0], [-1.0], 0.5)) == (0.0, 0.0)
    assert act_dcf([1.0], [0.0], 0.5).value == 1.0
