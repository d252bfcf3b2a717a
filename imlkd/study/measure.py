"""Scores of a fold's held-out trials by a model: whole utterances, and the test side cut to some seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from imlkd.features.speech import SpeechReader
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model
from imlkd.scoring.metrics import Floats
from imlkd.study.folds import Fold

FULL = "full"


def conditions_of(cuts: list[float]) -> list[str]:
    """Names of the conditions: ``full``, then a cut each (``1s``, ``1.5s``)."""
    return [FULL, *(f"{cut:g}s" for cut in cuts)]


def scores_of(
    model_dir: Path, data: Path, fold: Fold, cuts: list[float], allow_pipes: bool = False
) -> dict[str, Floats]:
    """Cosines of the fold's trials by condition; enrolment is whole in all of them.

    :param data: data directory that holds the fold's utterances.
    """
    model = load_model(model_dir)
    speech = SpeechReader(data, model.frontend.sample_rate, allow_pipes)
    names = sorted(fold.speaker, key=str.encode)
    rows = {name: i for i, name in enumerate(names)}
    kept = [list(_embeddings(model, speech.utterance(name), cuts)) for name in names]
    enroll = np.array([rows[name] for name in fold.trials.enroll])
    test = np.array([rows[name] for name in fold.trials.test])
    stacked = np.array([[row.numpy() for row in rows_of] for rows_of in kept], dtype=np.float64)  # (N, conditions, D)
    return {
        name: (stacked[enroll, 0] * stacked[test, place]).sum(axis=1) for place, name in enumerate(conditions_of(cuts))
    }


def _embeddings(model: SpeakerModel, waveform: Tensor, cuts: list[float]) -> Iterator[Tensor]:
    yield model.embed(waveform)
    for cut in cuts:
        yield model.embed(middle(waveform, round(cut * model.frontend.sample_rate)))


def middle(waveform: Tensor, samples: int) -> Tensor:
    """The middle of an utterance, or all of it where it is shorter."""
    first = max(0, (len(waveform) - samples) // 2)
    return waveform[first : first + samples]

