import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from imlkd.scoring.logistic import Separable, cross_entropy, fit_logistic


def sample(seed: int, count: int = 400, features: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    is_target = generator.random(count) < 0.2
    is_target[:2] = True, False
    data = generator.normal(size=(count, features)) * generator.uniform(0.1, 5.0, features) + generator.normal()
    data[is_target, 0] += 1.5 * data[:, 0].std()
    return data, is_target


@pytest.mark.parametrize("features", [1, 4])
@pytest.mark.parametrize("p_target", [0.5, 0.01, 0.001, 0.9])
def test_against_scikit_learn(features: int, p_target: float) -> None:
    data, is_target = sample(features, features=features)
    share = np.where(is_target, p_target / is_target.sum(), (1 - p_target) / (~is_target).sum()) * len(data)
    theirs = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10000, solver="newton-cholesky")
    theirs.fit(data, is_target, sample_weight=share)
    weights, offset = fit_logistic(data, is_target, p_target)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-5, atol=1e-7)
    assert offset + np.log(p_target / (1 - p_target)) == pytest.approx(theirs.intercept_.item(), rel=1e-5)


def test_two_gaussians_give_their_likelihood_ratio() -> None:
    """N(1, 1) against N(-1, 1): log p / p = 2 s, whatever the prior and the numbers of each kind."""
    generator = np.random.default_rng(0)
    scores = np.concatenate([generator.normal(1, 1, 40000), generator.normal(-1, 1, 90000)])[:, None]
    for p_target in (0.5, 0.05):
        weights, offset = fit_logistic(scores, np.arange(130000) < 40000, p_target)
        assert weights.item() == pytest.approx(2.0, abs=0.05) and offset == pytest.approx(0.0, abs=0.05)


@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_no_neighbour_is_better(seed: int, p_target: float) -> None:
    data, is_target = sample(seed, 60)
    try:
        weights, offset = fit_logistic(data, is_target, p_target)
    except Separable:
        return
    best = cross_entropy(data[:, 0] * weights[0] + offset, is_target, p_target)
    for d_weight, d_offset in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        llr = data[:, 0] * (weights[0] + d_weight) + offset + d_offset
        assert cross_entropy(llr, is_target, p_target) >= best - 1e-15


def test_cross_entropy_by_hand() -> None:
    """Cllr of one target at log 3 and one nontarget at 0: (log2(4/3) + log2(2)) / 2."""
    value = cross_entropy(np.array([np.log(3.0), 0.0]), np.array([True, False]))
    assert value == pytest.approx((np.log2(4 / 3) + 1.0) / 2)


@pytest.mark.parametrize("scores", [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 3.0]])
def test_separable_data_have_no_best_weights(scores: list[float]) -> None:
    with pytest.raises(Separable):
        fit_logistic(np.array(scores)[:, None], np.array([False, False, True, True]), 0.5)


def test_constant_feature() -> None:
    data, is_target = sample(0)
    with pytest.raises(ValueError, match="constant"):
        fit_logistic(np.hstack([data, np.full_like(data, 0.1)]), is_target, 0.5)
