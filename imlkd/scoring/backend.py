"""What scores a trial: the interface of a back-end, and the cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.scoring.metrics import Floats


class Backend(Protocol):
    """Turns embeddings into rows, those of a model and those of a test, and scores a pair of rows.

    Several enrolment utterances become one row; how is the back-end's own affair.
    """

    def models(
        self, vectors: npt.ArrayLike, model: npt.ArrayLike | None = None, weight: npt.ArrayLike = 1
    ) -> Floats:
        """Rows (m, M) of models from enrolment embeddings (N, D).

        :param model: (N,), the model of each embedding, from 0 without a gap; None: each is a model of its own.
        :param weight: how many utterances each embedding is the mean of, (N,) or one number.
        """

    def enroll(self, vectors: npt.ArrayLike) -> Floats:
        """The row (M,) of one model from its k embeddings (k, D)."""

    def test(self, vectors: npt.ArrayLike) -> Floats:
        """Rows (N, M) of the test side from (N, D)."""

    def score(self, models: Floats, tests: Floats) -> Floats:
        """Score of each pair of rows, (T,)."""

    def matrix(self, models: Floats, tests: Floats) -> Floats:
        """Scores of all pairs of (n, M) and (m, M) rows, (n, m)."""

    def dot_rows(self, rows: Floats) -> FloatArray:
        """Rows of models or tests (N, M) as such, in single precision, whose inner product is the score."""


@dataclass(frozen=True)
class Cosine:
    """Cosine of two embeddings, less a mean where one is given; several enrolment utterances are averaged.

    :param mean: (D,), subtracted from both sides.
    """

    mean: Floats | None = None

    def models(
        self, vectors: npt.ArrayLike, model: npt.ArrayLike | None = None, weight: npt.ArrayLike = 1
    ) -> Floats:
        """Averages (m, D), of embeddings brought to length 1 first, so that a loud utterance weighs no more."""
        rows = self.test(vectors)
        if model is None:
            return rows
        weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), len(rows))
        unit = rows * (weights / _lengths(rows))[:, None]
        means = np.zeros((int(np.max(model)) + 1, rows.shape[1]))
        np.add.at(means, np.asarray(model), unit)
        return means

    def enroll(self, vectors: npt.ArrayLike) -> Floats:
        """The row (D,) of one model from its k embeddings (k, D)."""
        data = np.asarray(vectors)
        row: Floats = self.models(data, np.zeros(len(data), dtype=np.int64))[0]
        return row

    def test(self, vectors: npt.ArrayLike) -> Floats:
        """(N, D), centred."""
        data = np.asarray(vectors, dtype=np.float64)
        if self.mean is not None and data.shape[1] != len(self.mean):
            raise UserError(
                f"embeddings of {data.shape[1]} dimensions do not fit a mean of {len(self.mean)}: "
                "do they come from the same model?"
            )
        return data if self.mean is None else data - self.mean

    def score(self, models: Floats, tests: Floats) -> Floats:
        """Cosine of each pair of rows, (T,)."""
        norms = np.linalg.norm(models, axis=1) * np.linalg.norm(tests, axis=1)
        scores: Floats = np.einsum("td,td->t", models, tests) / norms
        return scores

    def matrix(self, models: Floats, tests: Floats) -> Floats:
        """Cosines of all pairs, (n, m)."""
        scores: Floats = models @ tests.T / np.outer(_lengths(models), _lengths(tests))
        return scores

    def dot_rows(self, rows: Floats) -> FloatArray:
        """Rows of length 1."""
        unit = np.empty(rows.shape, dtype=np.float32)
        np.divide(rows, _lengths(rows)[:, None], out=unit, casting="same_kind")
        return unit


def _lengths(rows: Floats) -> Floats:
    """(N,); UserError for a row without length, as an embedding equal to the mean."""
    lengths: Floats = np.linalg.norm(rows, axis=1)
    if not lengths.all():
        raise UserError(
            f"embedding {int(np.argmin(lengths))} of {len(rows)} has no length once the mean is subtracted: extract it "
            "again"
        )
    return lengths
