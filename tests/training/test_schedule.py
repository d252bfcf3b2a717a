"""Learning rate and ramp over the course of a training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.training.schedule import one_cycle, ramp


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
