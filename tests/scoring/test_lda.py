import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from imlkd.errors import UserError
from imlkd.scoring.lda import apply_affine, fit_lda, length_normalised
from imlkd.scoring.plda import SpeakerStatistics


def sample(speakers: int = 12, dim: int = 7, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    names = [f"s{s}" for s in range(speakers) for _ in range(3 + s)]
    centres = {name: generator.normal(1.0, 2.0, dim) for name in dict.fromkeys(names)}
    mix = generator.normal(size=(dim, dim))
    return np.stack([centres[name] + mix @ generator.normal(size=dim) for name in names]), names


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_against_scikit_learn(dim: int) -> None:
    vectors, names = sample()
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=dim).fit(vectors, names)
    projected = apply_affine(fit_lda(SpeakerStatistics.of(vectors, names), dim), vectors)
    expected = theirs.transform(vectors)
    expected -= expected.mean(axis=0)  # scikit-learn's eigen solver does not centre
    signs = np.sign((projected * expected).sum(axis=0))
    np.testing.assert_allclose(projected, expected * signs, atol=1e-8)


def test_within_is_unit_and_between_diagonal_after_it() -> None:
    vectors, names = sample()
    after = SpeakerStatistics.of(apply_affine(fit_lda(SpeakerStatistics.of(vectors, names), 4), vectors), names)
    np.testing.assert_allclose(after.scatter / after.counts.sum(), np.eye(4), atol=1e-10)
    between = (after.means * after.counts[:, None]).T @ after.means
    np.testing.assert_allclose(between - np.diag(np.diag(between)), 0.0, atol=1e-8)
    assert (np.diff(np.diag(between)) < 0).all()


def test_a_direction_without_variance_is_floored_not_fatal() -> None:
    vectors, names = sample()
    flat = np.hstack([vectors, np.ones((len(vectors), 1))])
    assert np.isfinite(fit_lda(SpeakerStatistics.of(flat, names), 3)).all()


@pytest.mark.parametrize(("speakers", "dim", "wanted", "largest"), [(4, 7, 4, 3), (12, 7, 8, 7), (1, 7, 1, 0)])
def test_the_message_gives_the_largest_possible_dimension(speakers: int, dim: int, wanted: int, largest: int) -> None:
    with pytest.raises(UserError, match=rf"LDA to {wanted} dimensions is impossible.*at most {largest} "):
        fit_lda(SpeakerStatistics.of(*sample(speakers, dim)), wanted)


def test_affine_with_and_without_offset() -> None:
    matrix = np.array([[1.0, 2.0], [0.0, 1.0]])
    assert apply_affine(matrix, [[3.0, 4.0]]).tolist() == [[11.0, 4.0]]
    assert apply_affine(np.hstack([matrix, [[1.0], [-1.0]]]), [[3.0, 4.0]]).tolist() == [[12.0, 3.0]]
    with pytest.raises(UserError, match="a transform of 2 columns does not fit embeddings of 4 dimensions"):
        apply_affine(matrix, np.ones((1, 4)))


def test_length_by_hand() -> None:
    lengths = length_normalised(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]]))
    np.testing.assert_allclose(lengths, np.sqrt(2) * np.array([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))
