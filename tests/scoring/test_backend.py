import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from imlkd.errors import UserError
from imlkd.scoring.backend import Backend, Cosine
from imlkd.scoring.plda import Plda
from imlkd.scoring.plda_backend import PldaBackend

GENERATOR = np.random.default_rng(0)
ENROLL, TEST, MEAN = GENERATOR.normal(size=(7, 5)), GENERATOR.normal(size=(7, 5)), GENERATOR.normal(size=5)
BACKENDS: list[Backend] = [
    Cosine(),
    Cosine(MEAN),
    PldaBackend(Plda(MEAN, GENERATOR.normal(size=(5, 5)), np.array([5.0, 3.0, 1.0, 0.5, 0.0]))),
]


@pytest.mark.parametrize("backend", BACKENDS, ids=["cosine", "cosine less a mean", "plda"])
def test_every_back_end_keeps_the_interface(backend: Backend) -> None:
    models, tests = backend.models(ENROLL), backend.test(TEST)
    table = backend.matrix(models, tests)
    np.testing.assert_allclose(backend.score(models, tests), np.diag(table), atol=1e-10)
    np.testing.assert_allclose(backend.dot_rows(models) @ backend.dot_rows(tests).T, table, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(backend.matrix(backend.models(TEST), backend.test(ENROLL)), table.T, atol=1e-10)
    together = backend.models(ENROLL, [0, 1, 0, 2, 2, 2, 1])
    np.testing.assert_allclose(together[2], backend.enroll(ENROLL[3:6]), atol=1e-12)
    alone = backend.score(backend.enroll(ENROLL[:1])[None], tests[:1])
    np.testing.assert_allclose(alone, table[0, :1], atol=1e-10)
    twice = backend.models(ENROLL[:2], [0, 0], [2, 1])
    np.testing.assert_allclose(twice[0], backend.enroll(ENROLL[[0, 0, 1]]), atol=1e-9)


def test_cosine_against_scikit_learn() -> None:
    backend = Cosine(MEAN)
    expected = cosine_similarity(ENROLL - MEAN, TEST - MEAN)
    np.testing.assert_allclose(backend.matrix(backend.models(ENROLL), backend.test(TEST)), expected, atol=1e-12)


def test_several_enrolment_utterances_are_averaged_at_length_one() -> None:
    """(3, 4) and (0, 9) become (0.6, 0.8) and (0, 1): the mean points to (0.6, 1.8)."""
    backend = Cosine()
    model = backend.enroll([[3.0, 4.0], [0.0, 9.0]])
    assert backend.score(model[None], np.array([[1.0, 0.0]])).item() == pytest.approx(0.6 / np.hypot(0.6, 1.8))


def test_what_has_no_length_or_does_not_fit() -> None:
    with pytest.raises(UserError, match="embedding 1 of 2 has no length"):
        Cosine().dot_rows(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(UserError, match="embeddings of 4 dimensions do not fit a mean of 5"):
        Cosine(MEAN).test(np.ones((2, 4)))
