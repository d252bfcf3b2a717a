"""PLDA against brute-force Gaussians, SpeechBrain, and what EM must obey."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from imlkd.errors import UserError
from imlkd.scoring.plda import Plda, SpeakerStatistics, _em_step, fit_plda, log_likelihood

ROOT = Path(__file__).parents[2]
ORACLE_PYTHON = ROOT / ".venv-oracle/bin/python"
ORACLE_SCRIPT = Path(__file__).with_name("speechbrain_oracle.py")
HAS_SPEECHBRAIN = (ROOT / ".venv-oracle/made_of").is_file() and bool(
    list((ROOT / ".venv-oracle").glob("lib/python*/site-packages/speechbrain"))
)

Arrays = dict[str, np.ndarray]


def covariance(generator: np.random.Generator, dim: int) -> np.ndarray:
    root = generator.normal(size=(dim, dim + 3))
    return root @ root.T / dim


def sample(seed: int, speakers: int, counts: int | tuple[int, int], dim: int) -> tuple[np.ndarray, list[str]]:
    """Embeddings of a two-covariance model, and their speakers; ``counts`` utterances each, or a range."""
    generator = np.random.default_rng(seed)
    within, between = (np.linalg.cholesky(covariance(generator, dim)) for _ in range(2))
    vectors, names = [], []
    for speaker in range(speakers):
        count = counts if isinstance(counts, int) else int(generator.integers(*counts))
        centre = 1.0 + between @ generator.normal(size=dim)
        vectors.append(centre + generator.normal(size=(count, dim)) @ within.T)
        names += [f"s{speaker}"] * count
    return np.concatenate(vectors), names


def random_plda(seed: int, dim: int) -> tuple[Plda, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mean, within, between = generator.normal(size=dim), covariance(generator, dim), covariance(generator, dim)
    return Plda.from_covariances(mean, within, between), mean, within, between


def brute_force(
    mean: np.ndarray, within: np.ndarray, between: np.ndarray, enroll: np.ndarray, test: np.ndarray
) -> float:
    """log p(enroll, test | one speaker) - log p(enroll | a speaker) - log p(test | a speaker), by full covariances."""

    def log_p(vectors: np.ndarray) -> float:
        n = len(vectors)
        full = np.kron(np.eye(n), within) + np.kron(np.ones((n, n)), between)
        return float(multivariate_normal(np.tile(mean, n), full).logpdf(vectors.ravel()))

    return log_p(np.vstack([enroll, test[None]])) - log_p(enroll) - log_p(test[None])


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_scores_are_brute_force_likelihood_ratios(seed: int, dim: int, count: int) -> None:
    plda, mean, within, between = random_plda(seed, dim)
    generator = np.random.default_rng(seed + 1)
    enroll, test = mean + 2 * generator.normal(size=(count, dim)), mean + 2 * generator.normal(size=dim)
    row = plda.model_rows(plda.project(enroll).mean(axis=0, keepdims=True), count)
    score = (row @ plda.test_rows(plda.project(test[None])).T).item()
    assert score == pytest.approx(brute_force(mean, within, between, enroll, test), rel=1e-8, abs=1e-8)


def test_one_dimension_by_hand() -> None:
    """W = 1, B = 3, mean 0, enrolled 2, tested 1: N(1; 1.5, 1.75) against N(1; 0, 4)."""
    plda = Plda.from_covariances(np.zeros(1), np.eye(1), 3 * np.eye(1))
    score = (plda.model_rows(np.array([[2.0]])) @ plda.test_rows(np.array([[1.0]])).T).item()
    by_hand = -0.5 * (np.log(1.75) + 0.25 / 1.75) + 0.5 * (np.log(4.0) + 1.0 / 4.0)
    assert score == pytest.approx(by_hand, abs=1e-12)


def test_rows_of_many_models_with_counts_of_their_own() -> None:
    plda, mean, within, between = random_plda(3, 4)
    generator = np.random.default_rng(4)
    models = [generator.normal(size=(n, 4)) for n in (1, 5, 2)]
    tests = generator.normal(size=(6, 4))
    means = np.stack([plda.project(model).mean(axis=0) for model in models])
    table = plda.model_rows(means, [1, 5, 2]) @ plda.test_rows(plda.project(tests)).T
    expected = [[brute_force(mean, within, between, model, test) for test in tests] for model in models]
    np.testing.assert_allclose(table, expected, atol=1e-9)


def test_covariances_come_back() -> None:
    plda, _, within, between = random_plda(1, 7)
    np.testing.assert_allclose(plda.covariances()[0], within, atol=1e-10)
    np.testing.assert_allclose(plda.covariances()[1], between, atol=1e-10)
    assert (np.diff(plda.psi) <= 0).all()


def test_expected_length_after_rescaling() -> None:
    """Kaldi's normalisation: u^2 / (psi + 1 / n) adds up to the dimension."""
    plda, *_ = random_plda(2, 5)
    projected = np.random.default_rng(0).normal(size=(3, 5))
    counts = np.array([1, 2, 9])
    scaled = plda.rescale(projected, counts)
    np.testing.assert_allclose((scaled**2 / (plda.psi + 1 / counts[:, None])).sum(axis=1), 5.0)
    np.testing.assert_allclose(scaled / scaled[:, :1], projected / projected[:, :1])


def test_log_likelihood_is_that_of_the_full_gaussian() -> None:
    vectors, speakers = sample(0, 5, (1, 5), 3)
    plda, mean, within, between = random_plda(9, 3)
    total = 0.0
    for speaker in set(speakers):
        own = vectors[[name == speaker for name in speakers]]
        full = np.kron(np.eye(len(own)), within) + np.kron(np.ones((len(own),) * 2), between)
        total += multivariate_normal(np.tile(mean, len(own)), full).logpdf(own.ravel())
    assert log_likelihood(plda, SpeakerStatistics.of(vectors, speakers)) == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("counts", [6, (1, 12)])
def test_em_never_lowers_the_likelihood(counts: int | tuple[int, int]) -> None:
    statistics = SpeakerStatistics.of(*sample(5, 40, counts, 6))
    values = [log_likelihood(fit_plda(statistics, n), statistics) for n in range(15)]
    assert (np.diff(values) > -1e-9).all() and values[-1] > values[0] + 1e-3


def test_em_converges_to_the_maximum_of_the_likelihood() -> None:
    """A general-purpose optimiser, started elsewhere, on the logarithm of the likelihood itself."""
    statistics = SpeakerStatistics.of(*sample(6, 60, (1, 8), 2))
    mean = statistics.means.mean(axis=0)
    lower = np.tril_indices(2)

    def model(parameters: np.ndarray) -> Plda:
        roots = np.zeros((2, 2, 2))
        for root, values in zip(roots, parameters.reshape(2, 3), strict=True):
            root[lower] = values
        return Plda.from_covariances(mean, roots[0] @ roots[0].T + 1e-9 * np.eye(2), roots[1] @ roots[1].T)

    start = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    found = minimize(lambda p: -log_likelihood(model(p), statistics), start, method="Nelder-Mead",
                     options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 20000, "maxfev": 20000})  # fmt: skip
    fitted = fit_plda(statistics, 3000)
    assert log_likelihood(fitted, statistics) == pytest.approx(-found.fun, abs=1e-6)
    for ours, theirs in zip(fitted.covariances(), model(found.x).covariances(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_kaldis_start_ends_at_the_same_maximum() -> None:
    """Two unit matrices, as ivector-compute-plda begins."""
    statistics = SpeakerStatistics.of(*sample(6, 60, (2, 8), 4))
    found = Plda.from_covariances(statistics.means.mean(axis=0), np.eye(4), np.eye(4))
    for _ in range(1000):
        found = _em_step(found, statistics)
    for ours, kaldis in zip(fit_plda(statistics, 1000).covariances(), found.covariances(), strict=True):
        np.testing.assert_allclose(ours, kaldis, atol=1e-6)


def test_parameters_that_made_the_data_are_found() -> None:
    generator = np.random.default_rng(0)
    within, between = np.diag([1.0, 0.5, 2.0]), np.diag([4.0, 1.0, 0.2])
    centres = generator.normal(size=(4000, 3)) * np.sqrt(np.diag(between))
    vectors = np.repeat(centres, 8, axis=0) + generator.normal(size=(32000, 3)) * np.sqrt(np.diag(within))
    plda = fit_plda(SpeakerStatistics.of(vectors, [f"{i // 8}" for i in range(32000)]))
    np.testing.assert_allclose(plda.covariances()[0], within, atol=0.03)
    np.testing.assert_allclose(plda.covariances()[1], between, atol=0.15)


def test_a_linear_map_of_the_embeddings_changes_no_score() -> None:
    vectors, speakers = sample(7, 30, 5, 4)
    shear = np.random.default_rng(1).normal(size=(4, 4)) + 2 * np.eye(4)
    tables = []
    for data in (vectors, vectors @ shear.T + 3.0):
        plda = fit_plda(SpeakerStatistics.of(data, speakers))
        projected = plda.project(data[:20])
        tables.append(plda.model_rows(projected) @ plda.test_rows(projected).T)
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-8)


@pytest.mark.skipif(not HAS_SPEECHBRAIN, reason="no .venv-oracle with SpeechBrain: run bash tests/setup_oracle.sh")
def test_against_speechbrain(tmp_path: Path) -> None:
    """Same counts for all speakers, so that its mean is ours; to convergence, for its EM takes other steps."""
    vectors, speakers = sample(8, 80, 10, 6)
    generator = np.random.default_rng(2)
    enroll, test = generator.normal(size=(9, 6)), generator.normal(size=(11, 6))
    np.savez(tmp_path / "in.npz", vectors=vectors, speakers=speakers, iterations=300, enroll=enroll, test=test)
    command = [ORACLE_PYTHON, ORACLE_SCRIPT, tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run(command, check=True, timeout=120)
    with np.load(tmp_path / "out.npz") as found:
        theirs: Arrays = dict(found)
    same = Plda.from_covariances(theirs["mean"], theirs["within"], theirs["between"])
    fitted = fit_plda(SpeakerStatistics.of(vectors, speakers), 300)
    for plda, tolerance in ((same, 1e-9), (fitted, 1e-4)):
        table = plda.model_rows(plda.project(enroll)) @ plda.test_rows(plda.project(test)).T
        np.testing.assert_allclose(table, theirs["scores"], atol=tolerance)
    np.testing.assert_allclose(fitted.mean, theirs["mean"], atol=1e-10)
    np.testing.assert_allclose(fitted.covariances()[0], theirs["within"], atol=1e-5)
    np.testing.assert_allclose(fitted.covariances()[1], theirs["between"], atol=1e-5)


@pytest.mark.parametrize(("speakers", "count", "largest"), [(5, 20, 4), (8, 30, 7), (9, 1, 0), (20, (1, 2), 0)])
def test_too_few_speakers_or_utterances(speakers: int, count: int, largest: int) -> None:
    vectors, names = sample(3, speakers, count, 8)
    with pytest.raises(UserError, match=rf"{speakers} speakers .* PLDA of 8 dimensions.*--lda-dim {largest}\)"):
        fit_plda(SpeakerStatistics.of(vectors, names))


def test_embeddings_that_vary_in_few_directions() -> None:
    vectors, names = sample(3, 30, 5, 4)
    with pytest.raises(UserError, match="fewer than their 6 dimensions within speakers.*--lda-dim"):
        fit_plda(SpeakerStatistics.of(np.hstack([vectors, np.zeros((150, 2))]), names))


def test_start_of_the_em() -> None:
    """Covariances of the speakers' means and, with its degrees of freedom, of the utterances around them."""
    generator = np.random.default_rng(0)
    speakers = np.repeat(np.arange(6), [2, 3, 4, 5, 6, 7])
    vectors = generator.normal(size=(27, 3)) + 2.0 * generator.normal(size=(6, 3))[speakers]
    groups = [vectors[speakers == one] for one in range(6)]
    start = fit_plda(SpeakerStatistics.of(vectors, [f"s{one}" for one in speakers]), iterations=0)
    within, between = start.covariances()
    scatter = sum(len(group) * np.cov(group.T, bias=True) for group in groups)
    np.testing.assert_allclose(within, scatter / (27 - 6), atol=1e-10)
    np.testing.assert_allclose(
        between, np.cov([group.mean(axis=0) for group in groups], rowvar=False, bias=True), atol=1e-10
    )
