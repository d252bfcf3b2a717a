"""Quadrature rules and ladders: polynomials exactly, weights that sum to 1, nested nodes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from imlkd.attribution.rules import FIXED, PATTERSON, clenshaw_curtis, gauss_patterson, ladder, nodes_and_weights
from imlkd.errors import UserError


@pytest.mark.parametrize("rule", FIXED)
@given(exponent=st.integers(1, 5), power=st.sampled_from([1.0, 2.0, 4.0]))
def test_weights_sum_to_one_and_nodes_lie_inside(rule: str, exponent: int, power: float) -> None:
    nodes = 2**exponent - (rule == PATTERSON)
    alphas, weights = nodes_and_weights(rule, nodes, power)
    assert (alphas >= 0).all() and (alphas <= 1).all() and (np.diff(alphas) > 0).all()
    if power <= nodes + 1:
        assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert len(alphas) == nodes + (rule == "trapezoid" or (rule == "clenshaw-curtis" and power == 1))


@pytest.mark.parametrize("nodes", [2, 4, 6, 8, 16, 32])
def test_clenshaw_curtis_integrates_polynomials(nodes: int) -> None:
    places, weights = clenshaw_curtis(nodes)
    for degree in range(nodes + 2):  # one more by symmetry
        assert (weights * places**degree).sum() == pytest.approx(1 / (degree + 1), abs=1e-13)


@pytest.mark.parametrize("nodes", [3, 7, 15, 31, 63])
def test_gauss_patterson_integrates_polynomials(nodes: int) -> None:
    places, weights = gauss_patterson(nodes)
    assert (weights > 0).all()
    for degree in range((3 * nodes + 1) // 2 + 1):
        assert (weights * places**degree).sum() == pytest.approx(1 / (degree + 1), abs=1e-13)


def test_gauss_patterson_extends_gauss_and_is_kronrods_at_seven() -> None:
    """Kronrod's places of 7, on [-1, 1], as Laurie tabulates them (Mathematics of Computation 66, 1997)."""
    kronrod = np.array([0.0, 0.4342437493468026, 0.7745966692414834, 0.9604912687080203])
    np.testing.assert_allclose(2 * gauss_patterson(7)[0][3:] - 1, kronrod, atol=1e-14)
    climbed = ladder(PATTERSON, 3, 64)
    assert climbed.stops == [3, 7, 15, 31, 63] and len(np.unique(climbed.alphas.round(12))) == 63
    for level, nodes in enumerate(climbed.stops):
        np.testing.assert_allclose(np.sort(climbed.alphas[:nodes]), gauss_patterson(nodes)[0], atol=1e-12)
        assert not climbed.weights[level, nodes:].any()


def test_against_scipy_on_a_steep_integrand() -> None:
    """x^-1/2-like, steep at the baseline: packed nodes see it, even ones do not."""

    def steep(a: np.ndarray) -> np.ndarray:
        return 1 / (a + 1e-3)

    exact = integrate.quad(steep, 0, 1, points=[1e-3, 1e-2])[0]
    errors = {}
    for power in (1.0, 4.0):
        alphas, weights = nodes_and_weights("clenshaw-curtis", 16, power)
        errors[power] = abs((weights * steep(alphas)).sum() / exact - 1)
    assert errors[4.0] < 0.1 * errors[1.0]


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_a_nested_ladder_lists_each_place_once(power: float) -> None:
    climbed = ladder("clenshaw-curtis", 4, 32, power)
    extra = power == 1
    assert climbed.stops == [4 + extra, 8 + extra, 16 + extra, 32 + extra]
    assert len(np.unique(climbed.alphas.round(12))) == len(climbed.alphas) == climbed.stops[-1]
    for level, nodes in enumerate([4, 8, 16, 32]):
        alphas, weights = nodes_and_weights("clenshaw-curtis", nodes, power)
        used = climbed.weights[level] != 0
        order = np.argsort(climbed.alphas[used])
        np.testing.assert_allclose(climbed.alphas[used][order], alphas, atol=1e-12)
        np.testing.assert_allclose(climbed.weights[level][used][order], weights, atol=1e-12)
        assert not climbed.weights[level, climbed.stops[level] :].any()


def test_other_rules_begin_anew_at_each_level() -> None:
    climbed = ladder("gauss-legendre", 3, 13)
    assert climbed.stops == [3, 9, 21] and [list(climbed.fresh(i))[0] for i in range(3)] == [0, 3, 9]
    assert ((climbed.weights != 0).sum(1) == [3, 6, 12]).all()


def test_refusals() -> None:
    with pytest.raises(UserError, match="rule 'simpson': expected one of adaptive, clenshaw-curtis"):
        nodes_and_weights("simpson", 4)
    with pytest.raises(UserError, match="nodes 5: clenshaw-curtis needs an even number"):
        nodes_and_weights("clenshaw-curtis", 5)
    with pytest.raises(UserError, match="nodes 8: gauss-patterson has 1, 3, 7, 15, 31, 63"):
        gauss_patterson(8)
