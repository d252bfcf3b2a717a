"""Cosine scores of trials, and the three-column score file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.corpora.trials import Trials, join_check
from imlkd.errors import UserError
from imlkd.files import atomic_open
from imlkd.kaldi_io import FloatArray, read_scp_arrays
from imlkd.scoring.metrics import Floats, Integers
from imlkd.scoring.speaker_means import mean_vector

BLOCK = 16384  # trials scored at a time: bounds the memory of the gathered vectors


def score_trials(
    trials: Trials, enroll_scp: Path | str, test_scp: Path | str, out: Path | str, mean_scp: Path | str | None = None
) -> Floats:
    """Score ``trials`` from embedding files and write the score file; returns the scores, (number of trials,).

    :param mean_scp: embeddings whose plain mean is subtracted from both sides first (a training set's).
    :raises UserError: when an id has no embedding or an embedding cannot be scored; nothing is written then.
    """
    enroll = read_scp_arrays(enroll_scp)
    test = enroll if Path(test_scp) == Path(enroll_scp) else read_scp_arrays(test_scp)
    mean = None if mean_scp is None else mean_vector(read_scp_arrays(mean_scp))
    source = " and ".join(dict.fromkeys([str(enroll_scp), str(test_scp)]))
    join_check(trials, enroll.keys(), test.keys(), source=source)
    scores = cosine_scores(trials, enroll, test, mean)
    write_scores(out, trials, scores)
    return scores


def cosine_scores(
    trials: Trials, enroll: Mapping[str, FloatArray], test: Mapping[str, FloatArray], mean: FloatArray | None = None
) -> Floats:
    """Cosine of the two embeddings of each trial, in double precision.

    :param enroll: by id, (D,) each; ``test``: likewise; every id of ``trials`` must be there.
    :param mean: (D,), subtracted from both sides before the lengths are normalised.
    :returns: (number of trials,), in their order.
    :raises UserError: naming the id, for NaN, infinite or zero vectors, or a dimension unlike the others'.
    """
    centre = np.zeros(len(enroll[trials.enroll[0]])) if mean is None else np.asarray(mean, dtype=np.float64)
    enroll_matrix, enroll_row = _stack(trials.enroll, enroll, centre)
    test_matrix, test_row = _stack(trials.test, test, centre)
    scores = np.empty(len(trials))
    for start in range(0, len(trials), BLOCK):
        block = slice(start, start + BLOCK)
        left, right = enroll_matrix[enroll_row[block]] - centre, test_matrix[test_row[block]] - centre
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        scores[block] = np.einsum("td,td->t", left, right) / norms
    return scores


def write_scores(path: Path | str, trials: Trials, scores: npt.ArrayLike) -> None:
    """Write ``<enroll> <test> <score>`` in trial order, atomically; seven significant digits (all that float32 has)."""
    values = (np.asarray(scores, dtype=np.float64) + 0.0).tolist()  # adding zero turns -0 into 0
    with atomic_open(path) as stream:
        stream.writelines(
            f"{enroll} {test} {value:.7g}\n"
            for enroll, test, value in zip(trials.enroll, trials.test, values, strict=True)
        )


def _stack(ids: list[str], vectors: Mapping[str, FloatArray], centre: Floats) -> tuple[FloatArray, Integers]:
    """The vectors of the distinct ``ids``, (distinct, D), and the row of each id."""
    rows = {name: row for row, name in enumerate(dict.fromkeys(ids))}
    for name in rows:
        if vectors[name].shape != centre.shape:
            raise UserError(
                f"{name}: embedding has shape {vectors[name].shape}, the others {centre.shape}: "
                "do all sets come from the same model?"
            )
    matrix = np.stack([vectors[name] for name in rows])
    _refuse_unusable(list(rows), matrix, centre)
    return matrix, np.array([rows[name] for name in ids], dtype=np.int64)


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
