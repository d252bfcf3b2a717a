from pathlib import Path

import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.scoring.kaldi_plda import read_matrix, write_array, write_plda
from imlkd.scoring.lda import apply_affine, fit_lda, length_normalised
from imlkd.scoring.plda import Plda, SpeakerStatistics, fit_plda
from imlkd.scoring.plda_backend import (
    KALDI,
    PldaBackend,
    PldaConfig,
    adapt_backend,
    describe,
    fit_backend,
    read_backend,
    write_backend,
)

Vectors = dict[str, np.ndarray]


def training(speakers: int = 20, dim: int = 6, seed: int = 0) -> tuple[Vectors, dict[str, str]]:
    generator = np.random.default_rng(seed)
    utt2spk = {f"s{s:02d}-{u}": f"s{s:02d}" for s in range(speakers) for u in range(3 + s % 4)}
    centres = {speaker: generator.normal(0.5, 1.0, dim) for speaker in dict.fromkeys(utt2spk.values())}
    noise = np.random.default_rng(1).normal(size=(dim, dim)) / 3
    vectors = {
        name: (centres[speaker] + noise @ generator.normal(size=dim)).astype(np.float32)
        for name, speaker in utt2spk.items()
    }
    return vectors, utt2spk


def array(vectors: Vectors) -> np.ndarray:
    return np.stack(list(vectors.values())).astype(np.float64)


@pytest.mark.parametrize("lda_dim", [None, 4])
def test_steps_of_a_fit_in_kaldis_order(lda_dim: int | None) -> None:
    """Mean, LDA, length, PLDA, each by itself."""
    vectors, utt2spk = training()
    data = array(vectors) - array(vectors).mean(axis=0)
    names = [utt2spk[name] for name in vectors]
    if lda_dim:
        data = apply_affine(fit_lda(SpeakerStatistics.of(data, names), lda_dim), data)
    data = length_normalised(data)
    plda = fit_plda(SpeakerStatistics.of(data, names))
    backend = fit_backend(vectors, utt2spk, lda_dim)
    np.testing.assert_allclose(backend.prepare(array(vectors)), data, atol=1e-12)
    expected = plda.model_rows(plda.project(data[:5])) @ plda.test_rows(plda.project(data[5:9])).T
    found = backend.matrix(backend.models(array(vectors)[:5]), backend.test(array(vectors)[5:9]))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert backend.speakers == tuple(sorted(set(names)))


def test_pairs_are_the_diagonal_of_the_matrix() -> None:
    vectors, utt2spk = training()
    backend = fit_backend(vectors, utt2spk)
    models, tests = backend.models(array(vectors)[:7]), backend.test(array(vectors)[7:14])
    np.testing.assert_allclose(backend.score(models, tests), np.diag(backend.matrix(models, tests)), atol=1e-9)


def test_one_utterance_against_another_is_symmetric() -> None:
    vectors, utt2spk = training()
    for config in (PldaConfig(), KALDI, PldaConfig(length_norm=False)):
        backend = fit_backend(vectors, utt2spk, config=config)
        table = backend.matrix(backend.models(array(vectors)[:9]), backend.test(array(vectors)[:9]))
        np.testing.assert_allclose(table, table.T, atol=1e-8)


def test_several_utterances_by_the_book_and_by_averaging() -> None:
    vectors, utt2spk = training()
    data = array(vectors)
    book = fit_backend(vectors, utt2spk)
    average = PldaBackend(book.plda, book.mean, book.transform, PldaConfig(enrolment="average"))
    mean = book.plda.project(book.prepare(data[:3])).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(book.enroll(data[:3]), book.plda.model_rows(mean, 3)[0], atol=1e-12)
    np.testing.assert_allclose(average.enroll(data[:3]), book.plda.model_rows(mean, 1)[0], atol=1e-12)
    rows = book.models(data[:6], [1, 0, 1, 0, 2, 1])
    np.testing.assert_allclose(rows[1], book.enroll(data[[0, 2, 5]]), atol=1e-12)
    np.testing.assert_allclose(rows[2], book.enroll(data[[4]]), atol=1e-12)


def test_targets_score_higher() -> None:
    train, utt2spk = training(60)
    vectors, owner = training(seed=5)
    backend = fit_backend(train, utt2spk)
    table = backend.matrix(backend.models(array(vectors)), backend.test(array(vectors)))
    same = np.equal.outer(list(owner.values()), list(owner.values()))
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    assert np.median(table[same & upper]) > 0 > np.median(table[~same & upper])


@pytest.mark.parametrize("text", [False, True])
def test_folder_and_back(text: bool, tmp_path: Path) -> None:
    vectors, utt2spk = training()
    backend = fit_backend(vectors, utt2spk, 4, config=PldaConfig(enrolment="average"))
    write_backend(backend, tmp_path / "backend", text)
    found = read_backend(tmp_path / "backend")
    assert found.config == backend.config and found.speakers == backend.speakers
    np.testing.assert_array_equal(found.plda.transform, backend.plda.transform)
    tables = [b.matrix(b.models(array(vectors)), b.test(array(vectors))) for b in (backend, found)]
    np.testing.assert_allclose(*tables, rtol=1e-5, atol=1e-4)  # mean and transform are single precision, as Kaldi's are
    assert read_matrix(tmp_path / "backend/transform.mat").shape == (4, 7)


def test_a_folder_of_another_fit_leaves_no_part_behind(tmp_path: Path) -> None:
    vectors, utt2spk = training()
    write_backend(fit_backend(vectors, utt2spk, 4), tmp_path)
    write_backend(fit_backend(vectors, utt2spk), tmp_path)
    assert not (tmp_path / "transform.mat").exists() and read_backend(tmp_path).plda.dim == 6


def test_kaldis_own_files_score_as_kaldi_does(tmp_path: Path) -> None:
    """No backend.yaml: both length normalisations, counts by the book."""
    vectors, utt2spk = training()
    backend = fit_backend(vectors, utt2spk, 4)
    write_backend(backend, tmp_path)
    (tmp_path / "backend.yaml").unlink()
    (tmp_path / "speakers").unlink()
    found = read_backend(tmp_path)
    assert found.config == KALDI and found.speakers == ()
    projected = backend.plda.project(backend.prepare(array(vectors)[:3])).mean(axis=0)
    scale = np.sqrt(4 / (projected**2 / (backend.plda.psi + 1 / 3)).sum())  # GetNormalizationFactor
    expected = backend.plda.model_rows(scale * projected[None], 3)[0]
    np.testing.assert_allclose(found.enroll(array(vectors)[:3]), expected, rtol=1e-4)
    bare = read_backend(tmp_path / "plda")
    assert bare.mean is None and bare.transform is None and bare.config == KALDI


@pytest.mark.parametrize("method", ["kaldi", "coral"])
def test_adaptation_moves_the_mean_and_helps_the_new_domain(method: str) -> None:
    """The domain is stretched and moved: the score of one's own utterances stays above, with the right offset."""
    vectors, utt2spk = training(60)
    backend = fit_backend(vectors, utt2spk, config=PldaConfig(length_norm=False))
    generator = np.random.default_rng(4)
    shear = np.eye(6) + 0.6 * generator.normal(size=(6, 6))
    domain = {name: (shear @ vector + 3).astype(np.float32) for name, vector in training(60, seed=9)[0].items()}
    adapted = adapt_backend(backend, domain, method)
    assert adapted.mean is not None
    np.testing.assert_allclose(adapted.mean, array(domain).mean(axis=0), atol=1e-6)
    tested = {name: shear @ vector + 3 for name, vector in training(60, seed=11)[0].items()}
    owners = [name.split("-")[0] for name in tested]
    same = np.equal.outer(owners, owners)
    upper = np.triu(np.ones_like(same), 1).astype(bool)

    def cllr(b: PldaBackend) -> float:
        table = b.matrix(b.models(array(tested)), b.test(array(tested)))
        return float(np.logaddexp(0, -table[same & upper]).mean() + np.logaddexp(0, table[~same & upper]).mean())

    assert cllr(adapted) < cllr(backend)


def test_what_does_not_fit(tmp_path: Path) -> None:
    vectors, utt2spk = training()
    backend = fit_backend(vectors, utt2spk, 4)
    with pytest.raises(UserError, match="embeddings of 5 dimensions do not fit a back-end of 6"):
        backend.test(np.ones((2, 5)))
    write_backend(backend, tmp_path)
    write_array(tmp_path / "mean.vec", np.ones(3))
    with pytest.raises(UserError, match="mean.vec has 3 dimensions, transform.mat takes 7"):
        read_backend(tmp_path)
    write_plda(tmp_path / "plda", Plda(np.zeros(2), np.eye(2), np.ones(2)))
    with pytest.raises(UserError, match="transform.mat gives 4 dimensions, plda has 2"):
        read_backend(tmp_path)
    with pytest.raises(UserError, match="embeddings of 6 dimensions do not fit a PLDA of 2: is its transform.mat"):
        read_backend(tmp_path / "plda").test(np.ones((2, 6)))


def test_unusable_training_data() -> None:
    vectors, utt2spk = training()
    with pytest.raises(UserError, match=r"new: has no speaker \(1 such utterances\)"):
        fit_backend({**vectors, "new": vectors["s00-0"]}, utt2spk)
    with pytest.raises(UserError, match="s03-1: embedding holds NaN"):
        fit_backend({**vectors, "s03-1": np.full(6, np.nan)}, utt2spk)
    with pytest.raises(UserError, match="s03-1: embedding has shape"):
        fit_backend({**vectors, "s03-1": np.ones(5)}, utt2spk)
    with pytest.raises(UserError, match=r"5 speakers .* PLDA of 6 dimensions.*--lda-dim 4\)"):
        fit_backend(*training(5))


def test_description() -> None:
    vectors, utt2spk = training()
    lines = describe(fit_backend(vectors, utt2spk, 4, config=KALDI))
    assert lines[1] == "transform to 4 dimensions" and "scale to the expected length" in lines[4] and len(lines) == 6
