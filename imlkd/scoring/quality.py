"""Quality measures of a trial's two sides: what a calibration may look at beside the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.errors import UserError
from imlkd.kaldi_io import read_scp_arrays, read_table
from imlkd.scoring.metrics import Floats

OPTIONS = {"duration": "--utt2dur", "magnitude": "--magnitude-scp", "cohort_mean": "--cohort-stats-scp"}


@dataclass(frozen=True)
class Quality:
    """Values by id of each measure in use, ``{"duration": {"utt1": 1.2, ...}}``; none in use: empty.

    The measures: logarithm of the duration in seconds, length of the embedding before any normalisation, mean of the
    cohort's scores (as in wespeaker's and IDLab's calibrations, Thienpondt, Desplanques & Demuynck, ICASSP 2021).
    """

    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def features(self, enroll: list[str], test: list[str]) -> dict[str, Floats]:
        """The smaller and the larger value of the two sides of each trial, by ``<measure>_min`` and ``<measure>_max``.

        :raises UserError: naming measure and id, for an id without a value.
        """
        found: dict[str, Floats] = {}
        for name, values in self.measures.items():
            sides = _values_of(name, values, enroll + test).reshape(2, -1)
            found[f"{name}_min"], found[f"{name}_max"] = sides.min(axis=0), sides.max(axis=0)
        return found

    def respelt(self, ids: list[str], id_map: IdMap) -> Quality:
        """With the values also by those of ``ids`` that the tables spell otherwise."""
        measures = self.measures.items()
        return Quality({name: id_map.extend(values, ids, OPTIONS[name]) for name, values in measures})


def read_quality(
    utt2dur: tuple[Path, ...] = (), magnitude_scp: tuple[Path, ...] = (), cohort_stats_scp: tuple[Path, ...] = ()
) -> Quality:
    """Read the tables behind the measures; those without a file are not in use.

    :param utt2dur: seconds by id; ``magnitude_scp``: raw embeddings; ``cohort_stats_scp``: statistics of a score
        normalisation (see ``imlkd.scoring.normalisation``), of which the mean counts.
    """
    measures: dict[str, dict[str, float]] = {}
    for path in utt2dur:
        measures.setdefault("duration", {}).update(_log_durations(path))
    for path in magnitude_scp:
        lengths = {name: float(np.linalg.norm(vector)) for name, vector in read_scp_arrays(path).items()}
        measures.setdefault("magnitude", {}).update(lengths)
    for path in cohort_stats_scp:
        means = {name: float(vector[0]) for name, vector in read_scp_arrays(path).items()}
        measures.setdefault("cohort_mean", {}).update(means)
    return Quality(measures)


def _log_durations(path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, text in read_table(path, fields=2).items():
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0.0 < seconds < float("inf"):
            raise UserError(f"{path}: {name}: {text!r} is no duration in seconds: mend the line")
        found[name] = float(np.log(seconds))
    return found


def _values_of(name: str, values: Mapping[str, float], ids: list[str]) -> Floats:
    try:
        return np.array([values[one] for one in ids], dtype=np.float64)
    except KeyError as error:
        missing = [one for one in dict.fromkeys(ids) if one not in values]
        raise UserError(
            f"{error.args[0]}: has no {name} ({len(missing)} such ids): add its table with {OPTIONS[name]}"
        ) from None
