import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.progress import Progress
from imlkd.scoring import normalisation
from imlkd.scoring.normalisation import NORMS, cohort_statistics, normalise

COHORT = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])


def by_hand(top_k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of the enrolment [1, 0] (scores 1, 0, 0.6, -1) and the test [0, 1] (scores 0, 1, 0.8, 0)."""
    return tuple(cohort_statistics([side], COHORT, top_k) for side in ([1.0, 0.0], [0.0, 1.0]))  # type: ignore[return-value]


def test_adaptive_s_norm_by_hand() -> None:
    """Best two: 1, 0.6 (mean 0.8, deviation 0.2) and 1, 0.8 (0.9, 0.1): ((s - 0.8) / 0.2 + (s - 0.9) / 0.1) / 2."""
    enroll, test = by_hand(2)
    np.testing.assert_allclose(enroll, [[0.8, 0.2]], atol=1e-7)
    np.testing.assert_allclose(test, [[0.9, 0.1]], atol=1e-7)
    trials = np.zeros(2, dtype=np.int64)
    scores = normalise(np.array([0.9, 0.5]), "as", (enroll, trials), (test, trials))
    np.testing.assert_allclose(scores, [(0.5 + 0.0) / 2, (-1.5 - 4.0) / 2], atol=1e-5)


def test_s_z_and_t_norm_by_hand() -> None:
    """All four: mean 0.15, variance 2.36 / 4 - 0.15^2 = 0.5675; mean 0.45, variance 1.64 / 4 - 0.45^2 = 0.2075."""
    enroll, test = by_hand(None)
    one = np.zeros(1, dtype=np.int64)
    found = {norm: normalise(np.array([0.9]), norm, (enroll, one), (test, one)).item() for norm in NORMS}
    z, t = 0.75 / np.sqrt(0.5675), 0.45 / np.sqrt(0.2075)
    expected = {"none": 0.9, "z": z, "t": t, "s": (z + t) / 2, "as": (z + t) / 2}
    assert found == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 30), st.integers(1, 12), st.data())
@settings(max_examples=100, deadline=None)
def test_against_a_full_sort(seed: int, count: int, size: int, dim: int, data: st.DataObject) -> None:
    """As wespeaker's script does it, with ties, for every number of rows in a block."""
    top_k = data.draw(st.one_of(st.none(), st.integers(2, size)))
    generator = np.random.default_rng(seed)
    rows = generator.integers(-3, 4, size=(count, dim)).astype(np.float32) / 4
    cohort = generator.integers(-3, 4, size=(size, dim)).astype(np.float32) / 4
    best = np.sort(rows @ cohort.T, axis=1)[:, ::-1][:, :top_k].astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalisation, "_BLOCK_BYTES", data.draw(st.integers(1, 4000)))
        found = cohort_statistics(rows, cohort, top_k, workers=data.draw(st.integers(1, 3)))
    np.testing.assert_allclose(found[:, 0], best.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], best.std(axis=1), atol=1e-5)


@pytest.mark.parametrize("shift", [-10.0, -0.5, 0.0, 0.5, 10.0])
def test_rows_whose_best_are_negative(shift: float) -> None:
    """Log-likelihood ratios of impostors are; some rows, all, or none."""
    generator = np.random.default_rng(0)
    rows, cohort = generator.normal(size=(50, 8)), generator.normal(size=(200, 8))
    rows, cohort = np.hstack([rows, np.full((50, 1), shift)]), np.hstack([cohort, np.ones((200, 1))])
    best = np.sort(rows @ cohort.T, axis=1)[:, -30:]
    found = cohort_statistics(rows, cohort, 30)
    np.testing.assert_allclose(found[:, 0], best.mean(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], best.std(axis=1), rtol=1e-5, atol=1e-5)


def test_progress_counts_every_row_and_errors_of_a_worker_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "_BLOCK_BYTES", 16 * 3)
    rows = np.random.default_rng(0).normal(size=(20, 2))
    for workers in (1, 2, 30):
        with Progress("rows", 20) as progress:
            found = cohort_statistics(rows, COHORT, 2, None, progress, workers)
        assert progress.count == 20
        np.testing.assert_array_equal(found, cohort_statistics(rows, COHORT, 2))
    with pytest.raises(ValueError, match="matmul"):
        cohort_statistics(rows[:, :1], COHORT, 2, workers=2)


def test_never_the_full_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 rows against 3,000 are 240 MB of scores, and sorted copies more; 10 MB must do."""
    import tracemalloc

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(20000, 4)).astype(np.float32)
    cohort = generator.normal(size=(3000, 4)).astype(np.float32)
    tracemalloc.start()
    cohort_statistics(rows, cohort, 300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6, peak


def test_cohort_smaller_than_k() -> None:
    with pytest.raises(UserError, match="the cohort: has 4 members, fewer than the 5 of --top-k: take a larger"):
        cohort_statistics(COHORT, COHORT, 5)
    with pytest.raises(UserError, match="the cohort: has 1 members, fewer than 2"):
        cohort_statistics(COHORT, COHORT[:1])


def test_all_of_the_cohort_is_s_norm() -> None:
    np.testing.assert_array_equal(cohort_statistics(COHORT, COHORT, 4), cohort_statistics(COHORT, COHORT))


def test_inputs_are_left_as_they_are() -> None:
    rows = np.eye(2, dtype=np.float32)
    cohort = COHORT.astype(np.float32)
    cohort_statistics(rows, cohort, 2)
    np.testing.assert_array_equal(rows, np.eye(2))
    np.testing.assert_array_equal(cohort, COHORT.astype(np.float32))


