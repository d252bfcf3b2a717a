"""Stage 2 for a published teacher: take its weights as they are, fit a speaker head, leave it like a model of ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from imlkd.attribution.table_targets import check_covered
from imlkd.config import save_config
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.files import atomic_write_text, make_dir
from imlkd.kaldi_io import read_table
from imlkd.models.ensemble import Ensemble
from imlkd.models.ge2e import load_ge2e
from imlkd.models.onnx_network import load_onnx
from imlkd.models.self_supervised import SelfSupervised, load_torchaudio
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.speechbrain import load_speechbrain
from imlkd.models.store import load_model, save_model
from imlkd.models.wespeaker import load_3dspeaker, load_wespeaker
from imlkd.models.xvector_table import XvectorTable, load_table
from imlkd.progress import Progress
from imlkd.recipe import teachers_of
from imlkd.training.head import POOR_ACCURACY, HeadConfig, embed_segments, fit_heads
from imlkd.training.pool import grid_of, speakers_of

PUBLISHED: Mapping[str, Callable[[Path | None], SpeakerModel]] = {"resemblyzer": load_ge2e}
FROM_FILES: Mapping[str, Callable[[Path], SpeakerModel]] = {
    "speechbrain": load_speechbrain,
    "wespeaker": load_wespeaker,
    "3dspeaker": load_3dspeaker,
    "torchaudio": load_torchaudio,
    "onnx": load_onnx,
    "model": lambda path: _without_head(load_model(path)),
    "xvectors": load_table,
}
OWN = "own"


def check_teacher_name(name: str) -> None:
    """UserError for a teacher that is neither one's own nor published."""
    known = [OWN, *PUBLISHED, *FROM_FILES]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known teachers: {', '.join(known)}"
        raise UserError(f"unknown teacher {name!r}: {hint}")


def load_teacher(name: str, weights: Path | None) -> SpeakerModel:
    """The network of a published teacher, or of one in files at ``weights``, without its head.

    :raises UserError: for an unknown name, missing or damaged weights.
    """
    check_teacher_name(name)
    if name in PUBLISHED:
        return PUBLISHED[name](weights)
    if weights is None:
        raise UserError(f"teacher {name}: no weights: give {name}:PATH, the file or folder that holds them")
    return FROM_FILES[name](weights)


def load_teachers(name: str, weights: Path | None) -> SpeakerModel:
    """The teacher ``KIND`` with its ``weights``, or ``KIND:PATH``, or of several with commas between their ensemble."""
    several = teachers_of(name, str(weights) if weights else "")
    members = [load_teacher(kind, Path(path) if path else None) for kind, path in several]
    return members[0] if len(members) == 1 else Ensemble(members)


def import_teacher(
    name: str,
    weights: Path | None,
    data_dir: Path,
    config: HeadConfig,
    folder: Path,
    progress: Path | None,
    allow_pipes: bool = False,
    threads: int = 0,
) -> None:
    """Load teacher ``name``, fit its head on the speakers of ``data_dir``, write both to ``folder``.

    :param name: ``KIND``, with its ``weights``, or several, averaged: ``KIND:PATH,KIND:PATH``.
    :raises UserError: for an unknown name, missing or damaged weights.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(threads or torch.get_num_threads())
    model = load_teachers(name, weights)
    members = model.networks() if isinstance(model, Ensemble) else [model]
    make_dir(folder)
    save_config(config, folder / "config.yaml")
    if isinstance(model, XvectorTable):
        segments, found = _whole_utterances(model, data_dir, config.segments.max_dropped)
        embeddings = [found]
    else:
        segments = list(grid_of(data_dir, config.segments))
        with Progress(f"{name}: embeddings for its head", len(members) * len(segments), progress) as counted:
            embeddings = [_heard(member, data_dir, segments, allow_pipes, counted) for member in members]
    model.head, accuracy = fit_heads(embeddings, segments, data_dir, speakers_of(data_dir), config)
    _say_accuracy(accuracy, folder)
    save_model(model, folder)


def _heard(
    model: SpeakerModel, data_dir: Path, segments: list[Segment], allow_pipes: bool, counted: Progress
) -> Tensor:
    """(N, D) of the segments; what a network needs to know of them all, it learns."""
    speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
    embeddings = embed_segments(model, speech, segments, counted)
    return model.fit_scale(embeddings) if isinstance(model, SelfSupervised) else embeddings


def _without_head(model: SpeakerModel) -> SpeakerModel:
    model.head = None
    return model


def _whole_utterances(table: XvectorTable, data_dir: Path, max_dropped: float) -> tuple[list[Segment], Tensor]:
    """Utterances of a data directory that a table has, as segments, and their embeddings."""
    frames = read_table(data_dir / "utt2num_frames", fields=2)
    utterances = list(read_table(data_dir / "utt2spk", fields=2))
    lacking = set(check_covered(table, utterances, max_dropped))
    segments = [Segment(name, 0, int(frames.get(name, 0))) for name in utterances if name not in lacking]
    return segments, table.vectors(segment.utterance for segment in segments)


def _say_accuracy(accuracy: float | None, folder: Path) -> None:
    """Print it, and leave it in ``log/head_accuracy`` (``none`` where no utterance could be held out)."""
    text = "none" if accuracy is None else f"{accuracy:.4f}"
    atomic_write_text(folder / "log" / "head_accuracy", f"{text}\n")
    if accuracy is None:
        print("head: not measured: no utterance is held out")
        return
    said = f"head: {accuracy:.1%} of the segments of held-out utterances are recognised"
    print(said)
    if accuracy < POOR_ACCURACY:
        print(f"warning: {said}; label-level methods stand on this head")
