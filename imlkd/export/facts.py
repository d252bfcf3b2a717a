"""What a model's folder and its data say of it: training data, error rates, thresholds, calibration, size."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imlkd.corpora.fingerprint import data_hash
from imlkd.corpora.sets import RecipeSets, read_sets
from imlkd.errors import UserError
from imlkd.export.front_end import front_end_facts
from imlkd.kaldi_io import read_array, read_lines, read_table
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.speaker_model import SpeakerModel
from imlkd.reporting.table import git_hash
from imlkd.scoring.calibration import Calibration
from imlkd.scoring.evaluate import Evaluation

FORMAT = "1"
NOT_STATED = "not stated"
CHECKED = 50  # trials by which scores are recognised as cosines
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Facts:
    """Of one model.

    :param sets: names of the recipe's sets, below ``data``; both None when the model is exported without data.
    :param training_data: set -> hash.
    :param evaluations: by ``set/list``, in the recipe's order; of the scores of stage 6.
    :param thresholds: on cosines; empty when there are none.
    :param calibration: of cosines; None without one.
    """

    name: str
    sets: RecipeSets | None
    data: Path | None
    training_data: dict[str, str]
    evaluations: dict[str, Evaluation]
    thresholds: dict[str, Any]
    calibration: Calibration | None
    licence: str
    git: str
    parameters: int
    macs: int
    front_end: dict[str, Any]
    sample_rate: int
    embedding_dim: int
    min_samples: int

    def metadata(self, variant: str, kind: str = "waveform") -> dict[str, str]:
        """``metadata_props`` of an ONNX file (docs/files.md, Exported models)."""
        return {
            "imlkd.format": FORMAT,
            "imlkd.model": self.name,
            "imlkd.variant": variant,
            "imlkd.input": kind,
            "imlkd.sample_rate": str(self.sample_rate),
            "imlkd.embedding_dim": str(self.embedding_dim),
            "imlkd.min_samples": str(self.min_samples),
            "imlkd.front_end": json.dumps(self.front_end),
            "imlkd.training_data": json.dumps(self.training_data),
            "imlkd.thresholds": json.dumps(self.thresholds),
            "imlkd.calibration": "" if self.calibration is None else self.calibration.to_json(),
            "imlkd.licence": self.licence,
            "imlkd.git": self.git,
            "imlkd.parameters": str(self.parameters),
            "imlkd.macs": str(self.macs),
        }


def facts_of(
    folder: Path, model: SpeakerModel, shortest: int, sets_path: Path | None, licence: str, allow_pipes: bool = False
) -> Facts:
    """Gather them.

    :param shortest: samples that the exported model needs.
    :param sets_path: what stage 0 left beside the data, ``data/<corpus>.sets.yaml``; None: nothing of the data.
    :raises UserError: for damaged metrics, a damaged calibration, or data that can't be read.
    """
    sets = None if sets_path is None else read_sets(sets_path)
    data = None if sets_path is None else sets_path.parent
    evaluations = read_evaluations(folder, sets)
    calibration = Calibration.read(folder / "calibration.json") if (folder / "calibration.json").is_file() else None
    maps = {name: cosine_map(folder, name, calibration) for name in evaluations}
    usable = [name for name in evaluations if maps[name] is not None]
    thresholds: dict[str, Any] = {}
    if usable:
        scale, offset = maps[usable[0]] or (1.0, 0.0)
        thresholds = thresholds_of(evaluations[usable[0]], scale, offset) | {"list": usable[0]}
    if calibration is not None and (calibration.quality or not usable):
        calibration = None
    return Facts(
        folder.absolute().name, sets, data, _training_data(folder, sets, data, allow_pipes), evaluations, thresholds,
        calibration, licence or NOT_STATED, git_hash(Path(__file__).parents[2]), count_parameters(model),
        count_macs(model), front_end_facts(model.frontend), model.frontend.sample_rate, model.embedding_dim, shortest,
    )  # fmt: skip


def read_evaluations(folder: Path, sets: RecipeSets | None) -> dict[str, Evaluation]:
    """Of every ``metrics/<set>/<list>.json``; those of ``sets`` first, in their order."""
    root = folder / "metrics"
    there = sorted(str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*.json"))
    wanted = [name for name in (sets.lists if sets else []) if name in there]
    found = {}
    for name in dict.fromkeys([*wanted, *there]):
        path = root / f"{name}.json"
        try:
            found[name] = Evaluation.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: damaged: run stage 6 again (--stage 6 --force true)") from error
    return found


def thresholds_of(evaluation: Evaluation, scale: float, offset: float) -> dict[str, float | None]:
    """On the cosine, from those on ``scale`` x cosine + ``offset``; None rejects all."""
    named = {"eer": evaluation.eer, **{f"{prior:g}": one for prior, one in evaluation.min_dcf.items()}}
    return {
        name: None if math.isinf(one.threshold) else (one.threshold - offset) / scale for name, one in named.items()
    }


def cosine_map(folder: Path, name: str, calibration: Calibration | None) -> tuple[float, float] | None:
    """(scale, offset) by which the stored scores come from cosines of the stored embeddings; None when they don't."""
    set_name = name.partition("/")[0]
    scp, scores = folder / f"xvectors_{set_name}" / "xvector.scp", folder / "scores" / name
    if not scp.is_file() or not scores.is_file():
        return None
    lines = [line.split() for _, line in _first(scores)]
    try:
        places = read_table(scp)
        unit = {utterance: _unit(places[utterance]) for line in lines for utterance in line[:2]}
        found = np.array([float(line[2]) for line in lines])
    except (KeyError, IndexError, ValueError):  # averaged enrolments, or files of another run
        return None
    cosines = np.array([unit[line[0]] @ unit[line[1]] for line in lines])
    tried = [(1.0, 0.0)] + ([(calibration.scale, calibration.offset)] if calibration else [])
    for scale, offset in tried:
        if np.abs(scale * cosines + offset - found).max() <= TOLERANCE * max(1.0, scale):
            return scale, offset
    return None


def _first(path: Path) -> list[tuple[int, str]]:
    lines = read_lines(path)
    return [line for line, _ in zip(lines, range(CHECKED), strict=False)]


def _unit(place: str) -> Any:
    vector = np.asarray(read_array(place), dtype=np.float64)
    return vector / np.linalg.norm(vector)


def _training_data(folder: Path, sets: RecipeSets | None, data: Path | None, allow_pipes: bool) -> dict[str, str]:
    """Of a student its training set, of a teacher trained here its own; of an imported one nothing is known."""
    imported = (folder / "log" / "head_accuracy").is_file()
    if sets is None or data is None or imported:
        return {}
    name = sets.train if (folder / "method.yaml").is_file() else sets.teacher
    return {name: data_hash(data / name, allow_pipes)} if (data / name).is_dir() else {}
