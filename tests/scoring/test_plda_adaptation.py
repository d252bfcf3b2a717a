import numpy as np
import pytest
from scipy.linalg import eigh, sqrtm

from imlkd.errors import UserError
from imlkd.scoring.plda import Plda, SpeakerStatistics, fit_plda
from imlkd.scoring.plda_adaptation import adapt_coral, adapt_kaldi, coral_transform


def model(dim: int = 5, seed: int = 0) -> Plda:
    generator = np.random.default_rng(seed)
    within, between = (root @ root.T for root in generator.normal(size=(2, dim, 2 * dim)))
    return Plda.from_covariances(generator.normal(size=dim), within, between)


def domain(count: int = 400, dim: int = 5, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return 2.0 + generator.normal(size=(count, dim)) @ generator.normal(0.0, 4.0, size=(dim, dim))


def test_kaldi_by_hand() -> None:
    """W = 1, B = 1, total 2; the domain -2, 6 has mean 2, variance 16, plus the mean's 2^2: 10 times the total."""
    adapted = adapt_kaldi(Plda.from_covariances(np.zeros(1), np.eye(1), np.eye(1)), [[-2.0], [6.0]])
    within, between = adapted.covariances()
    assert adapted.mean == [2.0]
    assert within.item() == pytest.approx(1 + 0.3 * 9 * 2)  # 9: the eigenvalue's excess; 2: back from unit variance
    assert between.item() == pytest.approx(1 + 0.7 * 9 * 2)


@pytest.mark.parametrize(("within_scale", "between_scale", "diff"), [(0.3, 0.7, 1.0), (0.75, 0.25, 0.0)])
def test_kaldi_against_generalised_eigenvectors(within_scale: float, between_scale: float, diff: float) -> None:
    plda, vectors = model(), domain()
    within, between = plda.covariances()
    total, moved = within + between, vectors.mean(axis=0) - plda.mean
    values, axes = eigh(np.cov(vectors.T, bias=True) + diff * np.outer(moved, moved), total)
    for value, axis in zip(values, axes.T, strict=True):
        if value > 1:
            direction = total @ axis
            within = within + within_scale * (value - 1) * np.outer(direction, direction)
            between = between + between_scale * (value - 1) * np.outer(direction, direction)
    assert (values < 1).any() and (values > 1).any()
    adapted = adapt_kaldi(plda, vectors, within_scale, between_scale, diff)
    np.testing.assert_allclose(adapted.covariances()[0], within, atol=1e-8)
    np.testing.assert_allclose(adapted.covariances()[1], between, atol=1e-8)
    np.testing.assert_allclose(adapted.mean, vectors.mean(axis=0))


def test_kaldi_leaves_a_narrower_domain_alone() -> None:
    plda = model()
    adapted = adapt_kaldi(plda, 1e-3 * domain() + plda.mean, mean_diff_scale=0.0)
    np.testing.assert_allclose(adapted.covariances()[0], plda.covariances()[0], atol=1e-9)


def test_coral_gives_the_total_covariance_of_the_domain() -> None:
    plda, vectors = model(), domain()
    adapted = adapt_coral(plda, vectors)
    np.testing.assert_allclose(sum(adapted.covariances()), np.cov(vectors.T, bias=True), rtol=1e-8, atol=1e-8)


def test_coral_on_the_model_is_coral_on_its_features() -> None:
    """Features of covariance S, mapped by T^1/2 S^-1/2, train the model that adaptation gives."""
    plda, vectors = model(), domain()
    generator = np.random.default_rng(3)
    within, between = plda.covariances()
    centres = generator.multivariate_normal(plda.mean, between, size=300)
    features = np.repeat(centres, 6, axis=0) + generator.multivariate_normal(np.zeros(5), within, size=1800)
    speakers = [str(i // 6) for i in range(1800)]
    fitted = fit_plda(SpeakerStatistics.of(features, speakers))
    source, target = sum(fitted.covariances()), np.cov(vectors.T, bias=True)
    mapped = features @ np.real(sqrtm(target) @ np.linalg.inv(sqrtm(source))).T
    expected = fit_plda(SpeakerStatistics.of(mapped, speakers))
    adapted = adapt_coral(fitted, vectors)
    for ours, theirs in zip(adapted.covariances(), expected.covariances(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_coral_transform_of_equal_covariances_is_nothing() -> None:
    covariance = np.cov(domain().T)
    np.testing.assert_allclose(coral_transform(covariance, covariance), np.eye(5), atol=1e-9)


def test_too_small_domains() -> None:
    with pytest.raises(UserError, match="5 embeddings have no covariance of full rank in 5 dimensions"):
        adapt_coral(model(), domain(5))
    with pytest.raises(UserError, match="1 embedding is no domain"):
        adapt_kaldi(model(), domain(1))
    with pytest.raises(UserError, match=r"embeddings of shape \(3,\) do not fit a PLDA of 5 dimensions"):
        adapt_kaldi(model(), np.ones((9, 3)))
    with pytest.raises(UserError, match="a covariance of 5 dimensions is singular"):
        adapt_coral(model(), np.repeat(domain(3), 10, axis=0))
