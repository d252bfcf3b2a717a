"""PLDA as a back-end: what comes before it, its folder on the disk, its fit, its adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.config import chosen, load_config, save_config
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir
from imlkd.kaldi_io import FloatArray, read_lines, sort_ids
from imlkd.scoring.kaldi_plda import read_matrix, read_plda, read_vector, write_array, write_plda
from imlkd.scoring.lda import apply_affine, fit_lda, length_normalised
from imlkd.scoring.metrics import Floats
from imlkd.scoring.plda import ITERATIONS, Plda, SpeakerStatistics, fit_plda
from imlkd.scoring.plda_adaptation import adapt_coral, adapt_kaldi
from imlkd.scoring.vectors import stack


@dataclass(frozen=True)
class PldaConfig:
    """``backend.yaml``: what is done besides mean, transform and PLDA.

    :param length_norm: scale embeddings to the length sqrt(D) before the PLDA (``ivector-normalize-length``).
    :param normalize_length: scale them again in the PLDA's own space (Kaldi's option, on there by default).
    :param enrolment: of several utterances: ``book``, their exact likelihood (Kaldi with ``--num-utts``), or
        ``average``, as if their mean were one utterance.
    """

    length_norm: bool = True
    normalize_length: bool = False
    enrolment: str = chosen("book", ("book", "average"))


KALDI = PldaConfig(normalize_length=True)  # what the programs do by default: for a folder without backend.yaml


@dataclass(frozen=True)
class PldaBackend:
    """Scores by the log-likelihood ratio of one speaker against two.

    :param mean: (D,), subtracted first; ``transform``: (d, D) or (d, D + 1), applied then; None: left out.
    :param speakers: whom it was trained on, as far as known.
    """

    plda: Plda
    mean: Floats | None = None
    transform: Floats | None = None
    config: PldaConfig = PldaConfig()
    speakers: tuple[str, ...] = ()

    def prepare(self, vectors: npt.ArrayLike) -> Floats:
        """(N, D) embeddings to what the PLDA models, (N, d): mean, transform, length."""
        data = np.asarray(vectors, dtype=np.float64)
        if self.mean is not None:
            if data.shape[1] != len(self.mean):
                raise UserError(
                    f"embeddings of {data.shape[1]} dimensions do not fit a back-end of {len(self.mean)}: "
                    "do they come from the same model?"
                )
            data = data - self.mean
        if self.transform is not None:
            data = apply_affine(self.transform, data)
        if data.shape[1] != self.plda.dim:
            raise UserError(
                f"embeddings of {data.shape[1]} dimensions do not fit a PLDA of {self.plda.dim}: is its transform.mat "
                "missing, or do they come from another model?"
            )
        return length_normalised(data) if self.config.length_norm else data

    def models(
        self, vectors: npt.ArrayLike, model: npt.ArrayLike | None = None, weight: npt.ArrayLike = 1
    ) -> Floats:
        """Rows (m, M) of models.

        :param vectors: (N, D) enrolment embeddings.
        :param model: (N,), the model of each, from 0 without a gap; None: each is a model of its own.
        :param weight: how many utterances each embedding is the mean of, (N,) or one number.
        """
        projected = self.plda.project(self.prepare(vectors))
        index = np.arange(len(projected)) if model is None else np.asarray(model)
        weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), len(projected))
        counts = np.bincount(index, weights)
        means = np.zeros((len(counts), self.plda.dim))
        np.add.at(means, index, weights[:, None] * projected)
        means /= counts[:, None]
        n = counts if self.config.enrolment == "book" else np.ones_like(counts)
        if self.config.normalize_length:
            means = self.plda.rescale(means, n)
        return self.plda.model_rows(means, n)

    def enroll(self, vectors: npt.ArrayLike) -> Floats:
        """The row (M,) of one model, from its k enrolment embeddings (k, D)."""
        data = np.asarray(vectors)
        row: Floats = self.models(data, np.zeros(len(data), dtype=np.int64))[0]
        return row

    def test(self, vectors: npt.ArrayLike) -> Floats:
        """Rows (N, M) of the test side, from (N, D)."""
        projected = self.plda.project(self.prepare(vectors))
        return self.plda.test_rows(self.plda.rescale(projected) if self.config.normalize_length else projected)

    def score(self, models: Floats, tests: Floats) -> Floats:
        """Log-likelihood ratio of each pair of rows, (T,)."""
        scores: Floats = np.einsum("tm,tm->t", models, tests)
        return scores

    def dot_rows(self, rows: Floats) -> FloatArray:
        """Rows whose inner product is the score, in single precision; here all are such."""
        return rows.astype(np.float32)

    def matrix(self, models: Floats, tests: Floats) -> Floats:
        """Log-likelihood ratios of all pairs, (n, m)."""
        scores: Floats = models @ tests.T
        return scores


def fit_backend(
    vectors: Mapping[str, FloatArray],
    utt2spk: Mapping[str, str],
    lda_dim: int | None = None,
    iterations: int = ITERATIONS,
    config: PldaConfig = PldaConfig(),
) -> PldaBackend:
    """Fit mean, LDA (where ``lda_dim`` is given) and PLDA on embeddings by utterance, as Kaldi's recipes do.

    :raises UserError: naming the utterance, for one without a speaker or an unusable embedding; when there are too few
        speakers.
    """
    without = [name for name in vectors if name not in utt2spk]
    if without:
        raise UserError(f"{without[0]}: has no speaker ({len(without)} such utterances): add them to utt2spk")
    data, speakers = stack(vectors), [utt2spk[name] for name in vectors]
    mean = data.mean(axis=0)
    backend = PldaBackend(
        Plda(np.zeros(data.shape[1]), np.eye(data.shape[1]), np.zeros(data.shape[1])), mean, None, config,
        tuple(sort_ids(set(speakers))),
    )  # fmt: skip
    if lda_dim is not None:
        transform = fit_lda(SpeakerStatistics.of(data - mean, speakers), lda_dim)
        none = Plda(np.zeros(lda_dim), np.eye(lda_dim), np.zeros(lda_dim))
        backend = replace(backend, transform=transform, plda=none)
    plda = fit_plda(SpeakerStatistics.of(backend.prepare(data), speakers), iterations)
    return replace(backend, plda=plda)


def adapt_backend(
    backend: PldaBackend,
    vectors: Mapping[str, FloatArray],
    method: str = "kaldi",
    within_scale: float = 0.3,
    between_scale: float = 0.7,
    recentre: bool = True,
) -> PldaBackend:
    """Adapt to embeddings of a new domain, speakers unknown.

    :param method: ``kaldi`` or ``coral``, see ``imlkd.scoring.plda_adaptation``.
    :param recentre: also subtract the new domain's mean instead of the training set's, as Kaldi's sre16 does.
    """
    data = stack(vectors)
    if recentre:
        backend = replace(backend, mean=data.mean(axis=0))
    prepared = backend.prepare(data)
    if method == "coral":
        return replace(backend, plda=adapt_coral(backend.plda, prepared))
    return replace(backend, plda=adapt_kaldi(backend.plda, prepared, within_scale, between_scale))


def write_backend(backend: PldaBackend, folder: Path | str, text: bool = False) -> None:
    """Write ``plda``, ``mean.vec``, ``transform.mat``, ``backend.yaml`` and ``speakers``; what it lacks is removed."""
    folder = make_dir(folder)
    (folder / "plda").unlink(missing_ok=True)  # written last: a folder with it is complete
    for name, array in (("mean.vec", backend.mean), ("transform.mat", backend.transform)):
        if array is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_array(folder / name, array)
    save_config(backend.config, folder / "backend.yaml")
    atomic_write_text(folder / "speakers", "".join(f"{name}\n" for name in backend.speakers))
    write_plda(folder / "plda", backend.plda, text)


def read_backend(path: Path | str) -> PldaBackend:
    """Read a folder with a ``plda`` and what else is there of ``mean.vec``, ``transform.mat``, ``backend.yaml``.

    Without ``backend.yaml`` it is Kaldi's, and scores as Kaldi's programs do by default. A file is a bare ``plda``.

    :raises UserError: when a file is missing or damaged, or the parts do not fit each other.
    """
    path = Path(path)
    folder, file = (path, path / "plda") if path.is_dir() else (None, path)
    plda = read_plda(file)
    if folder is None:
        return PldaBackend(plda, config=KALDI)
    mean = read_vector(folder / "mean.vec") if (folder / "mean.vec").is_file() else None
    transform = read_matrix(folder / "transform.mat") if (folder / "transform.mat").is_file() else None
    _refuse_misfits(folder, plda, mean, transform)
    own = (folder / "backend.yaml").is_file()
    config = load_config(PldaConfig, folder / "backend.yaml") if own else KALDI
    listed = folder / "speakers"
    speakers = tuple(line for _, line in read_lines(listed)) if listed.is_file() else ()
    return PldaBackend(plda, mean, transform, config, speakers)


def describe(backend: PldaBackend) -> Sequence[str]:
    """What it does, step by step, a line each."""
    steps = []
    if backend.mean is not None:
        steps.append(f"subtract a mean of {len(backend.mean)} dimensions")
    if backend.transform is not None:
        steps.append(f"transform to {len(backend.transform)} dimensions")
    if backend.config.length_norm:
        steps.append("scale to the length sqrt(D)")
    psi = backend.plda.psi
    steps.append(
        f"PLDA of {backend.plda.dim} dimensions, between-speaker variances {psi[0]:.3g} to {psi[-1]:.3g} (within: 1)"
    )
    if backend.config.normalize_length:
        steps.append("scale to the expected length in its space")
    return [*steps, f"enrolment of several utterances: {backend.config.enrolment}"]


def _refuse_misfits(folder: Path, plda: Plda, mean: Floats | None, transform: Floats | None) -> None:
    if transform is not None and len(transform) != plda.dim:
        raise UserError(
            f"{folder}: transform.mat gives {len(transform)} dimensions, plda has {plda.dim}: take those of one fit"
        )
    width = transform.shape[1] if transform is not None else plda.dim
    if mean is not None and width - len(mean) not in ((0, 1) if transform is not None else (0,)):
        raise UserError(
            f"{folder}: mean.vec has {len(mean)} dimensions, {'transform.mat' if transform is not None else 'plda'} "
            f"takes {width}: take those of one fit"
        )
