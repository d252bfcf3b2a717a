"""Learning rate and ramp over the course of a training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.training.config import RateConfig
from imlkd.training.schedule import margin_share, one_cycle, peak_rate, ramp, rate_factor, triangles


@pytest.mark.parametrize("warm_up", [0.05, 0.15, 0.5, 0.9])
def test_ends_and_peak_of_the_cycle(warm_up: float) -> None:
    assert one_cycle(0.0, warm_up) == 1e-3  # not zero: the first step moves
    assert one_cycle(warm_up / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle(warm_up, warm_up) == pytest.approx(1.0)
    assert one_cycle((1 + warm_up) / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle(1.0, warm_up) == pytest.approx(0.0, abs=1e-12)


def test_without_warm_up_it_begins_at_the_peak() -> None:
    assert one_cycle(0.0, 0.0) == 1.0 and one_cycle(0.5, 0.0) == pytest.approx(0.5)


@given(first=st.floats(0, 1), second=st.floats(0, 1), warm_up=st.floats(0.01, 0.9))
def test_up_then_down(first: float, second: float, warm_up: float) -> None:
    early, late = sorted((first, second))
    assert 0 <= one_cycle(early, warm_up) <= 1
    if late <= warm_up:
        assert one_cycle(early, warm_up) <= one_cycle(late, warm_up) + 1e-9
    if early >= warm_up:
        assert one_cycle(early, warm_up) >= one_cycle(late, warm_up) - 1e-9


def test_ramp() -> None:
    assert [ramp(share, 0.2) for share in (0.0, 0.1, 0.2, 0.7, 1.0)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert ramp(0.0, 0.0) == 1.0 and ramp(0.5, 1.0) == 0.5


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "exponential", "cyclic"])
def test_every_schedule_warms_up_and_ends(schedule: str) -> None:
    rate = RateConfig(schedule, last=0.02, cycles=3)
    assert rate_factor(0.05, 0.1, rate) == pytest.approx(0.5) and rate_factor(0.1, 0.1, rate) == pytest.approx(1.0)
    assert rate_factor(1.0, 0.1, rate) == pytest.approx(0.0 if schedule == "one-cycle" else 0.02)
    assert all(0.0 <= rate_factor(i / 100, 0.1, rate) <= 1.0 for i in range(101))


def test_halfway() -> None:
    assert rate_factor(0.5, 0.0, RateConfig("exponential", last=0.01)) == pytest.approx(0.1)
    assert rate_factor(0.5, 0.0, RateConfig("cosine", last=0.2)) == pytest.approx(0.6)


def test_triangles_halve_and_the_last_goes_all_the_way_down() -> None:
    found = [triangles(share, 0.0, 2) for share in (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0])


def test_margin_share() -> None:
    assert [margin_share(p, 0.2, 0.6) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    assert margin_share(0.0, 0.0, 0.0) == 1.0


def test_the_peak_for_another_batch() -> None:
    """By hand: linear doubles with the batch, sqrt at four times of it."""
    assert peak_rate(0.003, 128, RateConfig()) == 0.003
    assert peak_rate(0.003, 128, RateConfig(scaling="linear", of_batch=64)) == pytest.approx(0.006)
    assert peak_rate(0.003, 256, RateConfig(scaling="sqrt", of_batch=64)) == pytest.approx(0.006)
