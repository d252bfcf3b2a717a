"""What the maps of a targets folder were made from, so that a cache of something else is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imlkd.attribution.curves import FUSED, curve_names
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.config import load_config, save_config
from imlkd.corpora.disk_table import DiskTable
from imlkd.errors import UserError
from imlkd.features.segment_table import segments_on_disk
from imlkd.features.segments import Segment, read_segments
from imlkd.files import sha256_file
from imlkd.kaldi_io import read_lines
from imlkd.models.speaker_model import FrontEnd
from imlkd.models.store import DESCRIPTION, SPEAKERS, WEIGHTS, build_model
from imlkd.models.xvector_table import XvectorTable

NAME, FAILED = "origin.yaml", "failed.txt"
GRADIENTS, OCCLUSION, NO_RELEVANCE = "gradients", "occlusion", "none"
DIGITS = 16  # of a hash: enough to tell files apart, short enough to read


@dataclass(frozen=True)
class Origin:
    """``origin.yaml``: hashes of the teacher and of its front-end, the curves that there are, and how they were found.

    :param relevance: ``gradients``; ``occlusion`` of a teacher that gives none, ``none`` of one that is a table.
    """

    teacher: str
    front_end: str
    curves: list[str]
    relevance: str = GRADIENTS


def origin_of(teacher: Path, config: RelevanceConfig) -> Origin:
    """The origin of what ``teacher`` says under ``config``."""
    model = build_model(teacher)
    relevance = OCCLUSION if model.is_opaque else GRADIENTS
    if isinstance(model, XvectorTable):
        relevance = NO_RELEVANCE
    curves = [*curve_names(config.segments, config.full), FUSED] if relevance != NO_RELEVANCE else [NO_RELEVANCE]
    return Origin(teacher_digest(teacher), front_end_digest(model.frontend), curves, relevance)


def teacher_digest(folder: Path) -> str:
    """Of a model folder: weights, architecture and the speakers of its head."""
    files = [folder / name for name in (WEIGHTS, DESCRIPTION, SPEAKERS) if (folder / name).is_file()]
    if folder / WEIGHTS not in files:
        raise UserError(f"{folder}: holds no {WEIGHTS}: give the folder of a finished teacher (stage 2)")
    return _short("".join(map(sha256_file, files)))


def front_end_digest(frontend: FrontEnd) -> str:
    """Of a front-end's kind and settings."""
    settings = getattr(frontend, "config", None)
    named = asdict(settings) if settings is not None else {}
    return _short(json.dumps([type(frontend).__name__, frontend.sample_rate, frontend.dim, named], sort_keys=True))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def save_origin(origin: Origin, folder: Path) -> None:
    """Leave ``origin.yaml`` in a targets folder."""
    save_config(origin, folder / NAME)


def training_segments(folder: Path) -> list[Segment]:
    """The segments that students train on: those of stage 3 without what ``on_failure: exclude`` leaves out."""
    gone = _left_out(folder)
    return [segment for segment in read_segments(folder / "segments") if segment.id not in gone]


def training_table(folder: Path, data_dir: Path) -> Sequence[Segment]:
    """The same, as numbers where they can be (``segments_on_disk``)."""
    path = folder / "segments"
    if not path.is_file():
        raise UserError(f"{path}: no such file: run stage 3 first")
    return segments_on_disk(path, DiskTable(data_dir / "utt2num_frames"), _left_out(folder))


def _left_out(folder: Path) -> set[str]:
    failed = folder / FAILED
    config = load_config(RelevanceConfig, folder / "config.yaml")
    if config.on_failure != "exclude" or not failed.is_file():
        return set()
    return {line.split()[0] for _, line in read_lines(failed)}


def check_origin(folder: Path, teacher: Path | None = None, curve: str | None = None) -> Origin:
    """The origin of a targets folder.

    :param teacher: model folder that the maps have to come from; None: any.
    :param curve: name of a curve that has to be there.
    :raises UserError: one line on what was found, what is wanted, and the remedy.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{path}: not there, so nobody knows whose relevance this is: run stage 3 again")
    found = load_config(Origin, path)
    if teacher is not None:
        frontend = front_end_digest(build_model(teacher).frontend)
        if found.front_end != frontend:
            raise UserError(
                f"{folder}: relevance of front-end {found.front_end}, wanted {frontend}, that of {teacher}:"
                " run stage 3 with this teacher again"
            )
        digest = teacher_digest(teacher)
        if found.teacher != digest:
            raise UserError(
                f"{folder}: relevance of teacher {found.teacher}, wanted {digest} ({teacher}):"
                " run stage 3 with this teacher again"
            )
    if curve is not None and curve not in found.curves:
        raise UserError(
            f"{folder}: relevance of the durations {', '.join(found.curves)} (frames of 10 ms), wanted {curve}:"
            " add it to segments.durations of relevance.yaml and run stage 3 again"
        )
    return found
