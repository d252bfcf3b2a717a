"""Cosine scores of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, TrialSource
from imlkd.errors import UserError, naming
from imlkd.kaldi_io import FloatArray, read_scp_arrays
from imlkd.scoring.metrics import Floats
from imlkd.scoring.score_file import ID_MAP, write_as_they_come
from imlkd.scoring.speaker_means import mean_vector

BLOCK = 16384  # trials scored at a time: bounds the memory of the gathered vectors


class CosineScorer:
    """Cosine of the two embeddings of a trial, in double precision.

    :param trials: whose ids are all in ``enroll`` and ``test``, (D,) each by id.
    :param mean: (D,), subtracted from both sides before the lengths are normalised.
    :raises UserError: naming the id, for NaN, infinite or zero vectors, or a dimension unlike the others'.
    """

    def __init__(
        self,
        trials: TrialSource,
        enroll: Mapping[str, FloatArray],
        test: Mapping[str, FloatArray],
        mean: FloatArray | None = None,
    ) -> None:
        first = enroll[trials.enroll[0]]
        self._centre: Floats = np.zeros(len(first)) if mean is None else np.asarray(mean, dtype=np.float64)
        self._enroll = _stack(trials.enroll, enroll, self._centre)
        self._test = _stack(trials.test, test, self._centre)

    def block(self, trials: Trials) -> Floats:
        """Scores, (number of trials,), of some of the trials."""
        scores = np.empty(len(trials))
        for start in range(0, len(trials), BLOCK):
            block = slice(start, start + BLOCK)
            left, right = self._of(self._enroll, trials.enroll[block]), self._of(self._test, trials.test[block])
            norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
            scores[block] = np.einsum("td,td->t", left, right) / norms
        return scores

    def _of(self, side: tuple[dict[str, int], FloatArray], ids: list[str]) -> Floats:
        rows, matrix = side
        return matrix[np.fromiter(map(rows.__getitem__, ids), np.int64, len(ids))] - self._centre

    def finish(self) -> None:
        """Any cosine is a score."""

    def digest(self) -> str:
        """Of all that decides the scores."""
        digest = hashlib.sha256(np.ascontiguousarray(self._centre).data)
        for rows, matrix in (self._enroll, self._test):
            digest.update("\n".join(rows).encode())
            digest.update(matrix.data)
        return digest.hexdigest()


def score_trials(
    trials: TrialSource,
    enroll_scp: Path | str,
    test_scp: Path | str,
    out: Path | str,
    mean_scp: Path | str | None = None,
    id_map: IdMap | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> None:
    """Score ``trials`` from embedding files into the score file ``out``, a block at a time.

    :param mean_scp: embeddings whose plain mean is subtracted from both sides first (a training set's).
    :param say: receives a line when a run that was killed is taken up.
    :raises UserError: when an id has no embedding or an embedding cannot be scored; nothing is written then.
    """
    id_map = id_map or IdMap()
    enroll = read_scp_arrays(enroll_scp)
    test = enroll if Path(test_scp) == Path(enroll_scp) else read_scp_arrays(test_scp)
    mean = None if mean_scp is None else mean_vector(read_scp_arrays(mean_scp))
    enroll = id_map.extend(enroll, trials.enroll, str(enroll_scp))
    test = id_map.extend(test, trials.test, str(test_scp))
    source = " and ".join(dict.fromkeys([str(enroll_scp), str(test_scp)]))
    join_check(trials, enroll.keys(), test.keys(), source=source, option=ID_MAP)
    with naming(source):
        scorer = CosineScorer(trials, enroll, test, mean)
    write_as_they_come(out, trials, scorer, say)


def cosine_scores(
    trials: Trials, enroll: Mapping[str, FloatArray], test: Mapping[str, FloatArray], mean: FloatArray | None = None
) -> Floats:
    """Scores, (number of trials,), in their order; see ``CosineScorer``."""
    return CosineScorer(trials, enroll, test, mean).block(trials)


def _stack(ids: list[str], vectors: Mapping[str, FloatArray], centre: Floats) -> tuple[dict[str, int], FloatArray]:
    """The row of each distinct id, and the vectors, (distinct, D)."""
    rows = {name: row for row, name in enumerate(dict.fromkeys(ids))}
    for name in rows:
        if vectors[name].shape != centre.shape:
            raise UserError(
                f"{name}: embedding has shape {vectors[name].shape}, the others {centre.shape}: "
                "do all sets come from the same model?"
            )
    matrix = np.stack([vectors[name] for name in rows])
    _refuse_unusable(list(rows), matrix, centre)
    return rows, matrix


def _refuse_unusable(names: list[str], matrix: FloatArray, centre: Floats) -> None:
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise UserError(f"{names[int(np.argmin(finite))]}: embedding holds NaN or infinite values: extract it again")
    has_length = (matrix != centre).any(axis=1)
    if not has_length.all():
        raise UserError(
            f"{names[int(np.argmin(has_length))]}: embedding has no length (all zero, or equal to the subtracted "
            "mean): extract it again, or take the trial out"
        )
