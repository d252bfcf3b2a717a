"""A model as the recipe leaves it: ``exp/<model>/``, run by torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from imlkd.corpora.audio import Samples
from imlkd.files import parse_json, sha256_file
from imlkd.kaldi_io import FloatArray
from imlkd.models.store import DESCRIPTION, WEIGHTS, load_model
from imlkd.runtime.model import EmbeddingModel, ModelCard
from imlkd.runtime.thresholds import Thresholds
from imlkd.scoring.calibration import Calibration

CALIBRATION = "calibration.json"


class FolderModel(EmbeddingModel):
    """The network in ``place``, with the thresholds and the calibration of stage 6 where it has run."""

    def __init__(self, place: Path, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self._model = load_model(place)
        rate = self._model.frontend.sample_rate
        thresholds = read_thresholds(place)
        super().__init__(
            place,
            ModelCard(
                name=place.absolute().name,
                sha256=_digest(place),
                sample_rate=rate,
                embedding_dim=self._model.embedding_dim,
                min_samples=self._model.min_frames * rate // 100,
                thresholds=thresholds,
                calibration=read_calibration(place) if thresholds.trials else None,
            ),
        )

    def _run(self, samples: Samples) -> FloatArray:
        vector: FloatArray = self._model.embed(torch.from_numpy(samples)).numpy()
        return vector


def _digest(folder: Path) -> str:
    parts = (sha256_file(folder / name) for name in (DESCRIPTION, WEIGHTS))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def read_calibration(folder: Path) -> Calibration | None:
    """Of stage 6, whose list is scored before it is fitted: fit for cosines where a list was scored by the cosine."""
    path = folder / CALIBRATION
    return Calibration.read(path) if path.is_file() else None


def read_thresholds(folder: Path) -> Thresholds:
    """Of the first list, in C order, that stage 6 has scored by the plain cosine; none there: no thresholds.

    Thresholds of normalised scores, of PLDA or of log-likelihood ratios lie on another scale, and are passed over.
    """
    for path in sorted(folder.glob("metrics/*/*.json")):
        trials = f"{path.parent.name}/{path.stem}"
        if _is_plain(folder / "scores" / path.parent.name / f".done.{path.stem}"):
            try:
                found = dict(_thresholds_in(parse_json(path.read_text(encoding="utf-8"))))
                return Thresholds.from_dict({**found, "list": trials})
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    return Thresholds()


def _thresholds_in(metrics: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    yield "eer", metrics["eer"]["threshold"]
    for prior, measure in metrics["min_dcf"].items():
        yield prior, measure["threshold"]


def _is_plain(marker: Path) -> bool:
    """Whether the list was scored without back-end, normalisation and calibration, by its done marker."""
    try:
        made_from = parse_json(marker.read_text(encoding="utf-8"))["made_from"]
        return not any(key in ("--backend", "--norm") or key.endswith(CALIBRATION) for key in made_from)
    except (OSError, ValueError, KeyError, TypeError):
        return False
