"""Integrals in the making: subdivision puts nodes where the path is rough and computes nothing twice."""

import numpy as np
import pytest
import torch

from imlkd.attribution.integrals import Integral, Subdivision, integrals
from imlkd.attribution.rules import RULES


def rough(alpha: np.ndarray) -> np.ndarray:
    """Flat, but for a step at 0.8."""
    return np.tanh(60 * (alpha - 0.8)) + alpha


def slope(alpha: np.ndarray) -> np.ndarray:
    return 60 / np.cosh(60 * (alpha - 0.8)) ** 2 + 1


def visit(integral: Integral, alphas: list[float], chunk: int = 1000) -> None:
    """Two frames carry two thirds and one third of the slope."""
    for first in range(0, len(alphas), chunk):
        own = np.array(alphas[first : first + chunk])
        parts = torch.from_numpy(slope(own)[:, None] * np.array([2 / 3, 1 / 3]))
        integral.add(own.tolist(), rough(own).tolist(), parts)


def climb(integral: Integral, tolerance: float, chunk: int = 1000) -> list[float]:
    """Until it is complete; what was visited."""
    visited: list[float] = []
    while ahead := integral.ahead():
        visit(integral, ahead, chunk)
        visited += ahead
        if abs(integral.sum() - (rough(np.array(1)) - rough(np.array(0)))) <= tolerance * 3:
            break
    return visited


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_nodes_go_where_the_path_is_rough(power: float) -> None:
    fine = Subdivision(8, 256, power)
    visited = climb(fine, 0.01)
    assert len(visited) == len(set(visited)) == fine.gradients == fine.nodes()
    assert visited[:9] == [(k / 8) ** power for k in range(9)]
    added = np.array(visited[9:])
    assert len(added) and (abs(added - 0.8) < 0.15).mean() > 0.9
    even = integrals("trapezoid", 8, 1024, power)()
    assert len(visited) < 0.5 * len(climb(even, 0.01))


def test_the_map_is_the_trapezoid_of_all_places_however_they_came() -> None:
    whole, parted = Subdivision(4, 64, 1.0), Subdivision(4, 64, 1.0)
    places = sorted(climb(whole, 0.001))
    climb(parted, 0.001, chunk=3)
    expected = np.trapezoid(slope(np.array(places)), places)
    torch.testing.assert_close(whole.map(), torch.tensor([2 / 3, 1 / 3], dtype=torch.float64) * expected)
    torch.testing.assert_close(whole.map(), parted.map())
    assert whole.sum() == pytest.approx(expected) == pytest.approx(float(whole.map().sum()))
    assert whole.change() == pytest.approx(rough(np.array(1)) - rough(np.array(0)))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_ends_at_its_cap(rule: str) -> None:
    integral = integrals(rule, 3 if rule == "gauss-patterson" else 4, 16, 1.0)()
    climb(integral, 0.0)
    assert integral.ahead() == []
    assert 15 <= integral.nodes() <= 17
    assert integral.gradients == (28 if rule in ("gauss-legendre", "midpoint") else integral.nodes())
    ends = rule in ("adaptive", "trapezoid", "clenshaw-curtis")
    assert (integral.change() is not None) is ends
