"""Stage 2 for a published teacher: take its weights as they are, fit a speaker head, leave it like a model of ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from imlkd.config import save_config
from imlkd.errors import UserError
from imlkd.features.speech import SpeechReader
from imlkd.files import atomic_write_text, make_dir
from imlkd.models.ge2e import load_ge2e
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.speechbrain import load_speechbrain
from imlkd.models.store import save_model
from imlkd.models.wespeaker import load_campplus_of_3dspeaker, load_wespeaker
from imlkd.progress import Progress
from imlkd.training.head import POOR_ACCURACY, HeadConfig, embed_segments, fit_head
from imlkd.training.pool import grid_of, speakers_of

PUBLISHED: Mapping[str, Callable[[Path | None], SpeakerModel]] = {"resemblyzer": load_ge2e}
FROM_FILES: Mapping[str, Callable[[Path], SpeakerModel]] = {
    "speechbrain": load_speechbrain,
    "wespeaker": load_wespeaker,
    "3dspeaker": load_campplus_of_3dspeaker,
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

    :raises UserError: for an unknown name, missing or damaged weights.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(threads or torch.get_num_threads())
    model = load_teacher(name, weights)
    make_dir(folder)
    save_config(config, folder / "config.yaml")
    segments = list(grid_of(data_dir, config.segments))
    speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
    with Progress(f"{name}: embeddings for its head", len(segments), progress) as counted:
        embeddings = embed_segments(model, speech, segments, counted)
    model.head, accuracy = fit_head(embeddings, segments, data_dir, speakers_of(data_dir), config)
    _say_accuracy(accuracy, folder)
    save_model(model, folder)


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
