"""Two-covariance PLDA: its parameters, its estimation by EM, its log-likelihood ratios.

The model (Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006; Brummer & de Villiers, "The speaker
partitioning problem", Odyssey 2010): an embedding is x = y + e, with one y ~ N(mean, B) for a speaker and one
e ~ N(0, W) for an utterance. It is kept as Kaldi keeps it, by the transform that turns W into the unit matrix and B
into the diagonal ``psi``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.scoring.metrics import Floats, Integers

ITERATIONS = 10


@dataclass(frozen=True)
class Plda:
    """Parameters of a two-covariance PLDA.

    :param mean: (D,), of the speakers.
    :param transform: (D, D); after it the within-speaker covariance is the unit matrix.
    :param psi: (D,), the between-speaker variances after it, largest first, none below 0.
    """

    mean: Floats
    transform: Floats
    psi: Floats

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @classmethod
    def from_covariances(cls, mean: Floats, within: Floats, between: Floats) -> Plda:
        """Diagonalise ``within`` (positive definite) and ``between`` (D, D) together.

        :raises numpy.linalg.LinAlgError: when ``within`` is not positive definite.
        """
        whiten = np.linalg.inv(np.linalg.cholesky(within))
        psi, axes = np.linalg.eigh(_symmetric(whiten @ between @ whiten.T))
        largest_first = np.argsort(-psi, kind="stable")
        psi, axes = np.maximum(psi[largest_first], 0.0), axes[:, largest_first]
        return cls(np.asarray(mean, dtype=np.float64), axes.T @ whiten, psi)

    def covariances(self) -> tuple[Floats, Floats]:
        """Within- and between-speaker covariance in the space of the embeddings, (D, D) each."""
        back = np.linalg.inv(self.transform)
        return _symmetric(back @ back.T), _symmetric((back * self.psi) @ back.T)

    def project(self, vectors: npt.ArrayLike) -> Floats:
        """(N, D) embeddings into the space where W is the unit matrix and the speakers' mean is 0."""
        centred: Floats = np.asarray(vectors, dtype=np.float64) - self.mean
        return centred @ self.transform.T

    def rescale(self, projected: Floats, count: npt.ArrayLike = 1) -> Floats:
        """Scale each of ``projected`` (N, D) to the length it is expected to have, as Kaldi's ``--normalize-length``.

        :param count: how many utterances each is the mean of, (N,) or one number.
        """
        variances = self.psi + 1.0 / np.broadcast_to(np.asarray(count, dtype=np.float64), len(projected))[:, None]
        scaled: Floats = projected * np.sqrt(self.dim / (projected**2 / variances).sum(axis=1, keepdims=True))
        return scaled

    def model_rows(self, projected: Floats, count: npt.ArrayLike = 1) -> Floats:
        """(N, 2 D + 1) rows whose inner product with a test row is the log-likelihood ratio.

        p(u | model) is N(m, v) with m = n psi / (n psi + 1) times the mean of the n enrolment vectors and
        v = 1 + psi / (n psi + 1); p(u) is N(0, 1 + psi), each dimension by itself (Ioffe, between eq. 4 and 5).

        :param projected: (N, D), means of the enrolment vectors after ``project``.
        :param count: n, (N,) or one number. 1 for all: enrolment by averaging.
        """
        n = np.broadcast_to(np.asarray(count, dtype=np.float64), len(projected))[:, None]
        expected = n * self.psi / (n * self.psi + 1.0) * projected
        variance = 1.0 + self.psi / (n * self.psi + 1.0)
        total = 1.0 + self.psi
        constant = (np.log(total / variance) - expected**2 / variance).sum(axis=1, keepdims=True)
        return np.concatenate([expected / variance, 0.5 / total - 0.5 / variance, 0.5 * constant], axis=1)

    def test_rows(self, projected: Floats) -> Floats:
        """(N, 2 D + 1), see ``model_rows``."""
        return np.concatenate([projected, projected**2, np.ones((len(projected), 1))], axis=1)


@dataclass(frozen=True)
class SpeakerStatistics:
    """What EM needs of a training set: by speaker the mean (S, D) and the count (S,); the scatter (D, D) around them.

    :param largest_dim: how many dimensions at most these data can train.
    """

    means: Floats
    counts: Integers
    scatter: Floats

    @property
    def largest_dim(self) -> int:
        """The means span S - 1 dimensions, the N utterances around them N - S."""
        speakers, dim = self.means.shape
        return int(min(dim, speakers - 1, self.counts.sum() - speakers))

    @classmethod
    def of(cls, vectors: npt.ArrayLike, speakers: Sequence[str]) -> SpeakerStatistics:
        """From (N, D) embeddings and the speaker of each."""
        data = np.asarray(vectors, dtype=np.float64)
        _, index = np.unique(np.asarray(speakers), return_inverse=True)
        counts = np.bincount(index)
        means = np.zeros((len(counts), data.shape[1]))
        np.add.at(means, index, data)
        means /= counts[:, None]
        around = data - means[index]
        return cls(means, counts, around.T @ around)


def fit_plda(statistics: SpeakerStatistics, iterations: int = ITERATIONS) -> Plda:
    """Estimate a PLDA by EM, as Kaldi's ``ivector-compute-plda`` but for the start.

    The mean is that of the speakers' means and stays, as in Kaldi. The start is the covariance of the means and the
    pooled one around them (Kaldi: two unit matrices), so that a linear map of the embeddings changes no score.

    :raises UserError: when the speakers or the utterances are too few for the dimensions.
    """
    speakers, dim = statistics.means.shape
    utterances = int(statistics.counts.sum())
    if statistics.largest_dim < dim:
        raise UserError(
            f"{speakers} speakers with {utterances} utterances cannot train a PLDA of {dim} dimensions: reduce them by "
            f"LDA, to {statistics.largest_dim} at most (--lda-dim {statistics.largest_dim})"
        )
    mean = statistics.means.mean(axis=0)
    centred = statistics.means - mean
    within, between = statistics.scatter / (utterances - speakers), centred.T @ centred / speakers
    try:
        plda = Plda.from_covariances(mean, within, between)
        for _ in range(iterations):
            plda = _em_step(plda, statistics)
    except np.linalg.LinAlgError:
        raise UserError(
            f"the embeddings vary in fewer than their {dim} dimensions within speakers: reduce them by LDA (--lda-dim)"
        ) from None
    return plda


def _em_step(plda: Plda, statistics: SpeakerStatistics) -> Plda:
    """One EM iteration, in the coordinates of ``plda``, where both covariances are diagonal.

    For a speaker with n utterances and mean d the posterior of y is N(n psi / (n psi + 1) d, psi / (n psi + 1)).
    """
    means, n = plda.project(statistics.means), statistics.counts[:, None].astype(np.float64)
    variance = plda.psi / (n * plda.psi + 1.0)
    expected = n * variance * means
    rest = means - expected
    between = expected.T @ expected + np.diag(variance.sum(axis=0))
    within = plda.transform @ statistics.scatter @ plda.transform.T
    within += (n * rest).T @ rest + np.diag((n * variance).sum(axis=0))
    step = Plda.from_covariances(plda.mean, within / n.sum(), between / len(n))
    return Plda(plda.mean, step.transform @ plda.transform, step.psi)


def log_likelihood(plda: Plda, statistics: SpeakerStatistics) -> float:
    """Log-likelihood (nats) of all training embeddings under ``plda``; no EM iteration lowers it.

    Of a speaker's n embeddings, n - 1 orthonormal contrasts are N(0, W) and sqrt(n) times the mean is N(., W + n B).
    """
    means, n = plda.project(statistics.means), statistics.counts[:, None].astype(np.float64)
    total = n * plda.psi + 1.0
    scatter = np.einsum("ij,jk,ik->", plda.transform, statistics.scatter, plda.transform)
    volume = 2.0 * np.linalg.slogdet(plda.transform)[1] - plda.dim * np.log(2.0 * np.pi)
    return float(0.5 * (n.sum() * volume - scatter - (np.log(total) + n * means**2 / total).sum()))


def _symmetric(matrix: Floats) -> Floats:
    return 0.5 * (matrix + matrix.T)
