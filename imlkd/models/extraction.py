"""Stage 5: embeddings of every utterance of a data directory."""

from __future__ import annotations

from pathlib import Path

import torch

from imlkd.errors import UserError
from imlkd.features.speech import SpeechReader
from imlkd.files import make_dir
from imlkd.kaldi_io import ArkWriter
from imlkd.models.speaker_model import SpeakerModel
from imlkd.progress import Progress


def extract_embeddings(
    model: SpeakerModel, data_dir: Path, out: Path, job: int, progress: Path | None, allow_pipes: bool = False
) -> int:
    """Write ``xvector.JOB.ark/scp``, one unit-length vector an utterance; returns how many."""
    speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
    names = speech.names
    make_dir(out)
    with (
        Progress(f"embed.{job}", len(names), progress) as counted,
        ArkWriter(out / f"xvector.{job}.ark", out / f"xvector.{job}.scp") as writer,
    ):
        for name in names:
            embedding = model.embed_utterance(name, speech)
            if not torch.isfinite(embedding).all():
                raise UserError(f"{name}: its embedding holds NaN or infinite values: check the audio and the model")
            writer.write(name, embedding.numpy())
            counted.update()
    return len(names)
