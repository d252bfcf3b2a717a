"""A speaker head for an imported teacher: AAM on its frozen embeddings of the training segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.margin import aam_loss
from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.ensemble import joined_head, joined_unit
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.progress import Progress
from imlkd.training.schedule import one_cycle

POOR_ACCURACY = 0.8


@dataclass(frozen=True)
class HeadConfig:
    """How the head of an imported teacher is fitted."""

    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    epochs: int = bounded(60, low=1, high=10000, help="passes over the segments, at most")
    patience: int = bounded(20, low=1, high=10000, help="passes below the best held-out accuracy, then it stops")
    batch: int = bounded(256, low=2, help="segments a step")
    learning_rate: float = bounded(0.02, low=0.0, high=10.0, help="peak, AdamW")
    margin: float = bounded(0.2, low=0.0, high=1.5, help="AAM, radians")
    scale: float = bounded(30.0, low=1.0, high=1000.0, help="of the cosines")
    held_out: float = bounded(0.1, low=0.0, high=0.5, help="share of utterances that choose the pass and measure it")
    seed: int = bounded(1, low=0, help="of held-out utterances and batches")


@torch.no_grad()
def embed_segments(
    model: SpeakerModel, speech: SpeechReader, segments: list[Segment], progress: Progress, batch: int = 16
) -> Tensor:
    """(number of segments, D), in the order of ``segments``."""
    rows: list[Tensor] = [torch.empty(0)] * len(segments)
    order = sorted(range(len(segments)), key=lambda i: (segments[i].frames, i))
    first = 0
    while first < len(order):
        frames = segments[order[first]].frames
        chosen = [i for i in order[first : first + batch] if segments[i].frames == frames]
        features = torch.stack([model.frontend(speech.segment(segments[i])) for i in chosen])
        output = model(features, torch.full((len(features),), features.shape[1]))
        for i, row in zip(chosen, output.embedding, strict=True):
            if not torch.isfinite(row).all():
                raise UserError(f"{segments[i].id}: the teacher's output holds NaN or infinite values")
            rows[i] = row
        first += len(chosen)
        progress.update(len(chosen))
    return torch.stack(rows)


def fit_heads(
    embeddings: Sequence[Tensor], segments: list[Segment], data_dir: Path, classes: list[str], config: HeadConfig
) -> tuple[CosineHead, float | None]:
    """A head for each member of an ensemble, joined; the accuracy is that of their mean cosines."""
    if len(embeddings) == 1:
        return fit_head(embeddings[0], segments, data_dir, classes, config)
    head = joined_head([fit_head(one, segments, data_dir, classes, config)[0] for one in embeddings])
    labels = _labels_of(segments, data_dir, classes)
    return head, _accuracy(head, joined_unit(embeddings), labels, _held_out(segments, labels, config))


def fit_head(
    embeddings: Tensor, segments: list[Segment], data_dir: Path, classes: list[str], config: HeadConfig
) -> tuple[CosineHead, float | None]:
    """Fit class weights with AAM; returns the head and its accuracy on held-out utterances (None: there are none).

    The classes start at the speakers' mean embeddings, so that few epochs are enough. Of all epochs the one that
    recognises most held-out utterances is kept, of equals the last, so the accuracy is a little kind.
    """
    labels = _labels_of(segments, data_dir, classes)
    unit = functional.normalize(embeddings)
    held = _held_out(segments, labels, config)
    head = CosineHead(embeddings.shape[1], classes)
    with torch.no_grad():
        sums = torch.zeros_like(head.weight).index_add_(0, labels[~held], unit[~held])
        without = [name for name, total in zip(classes, sums, strict=True) if not total.any()]
        if without:
            raise UserError(
                f"{data_dir}: {len(without)} speakers have no training segment (first: {' '.join(without[:5])}):"
                " lower min_speech or shorten durations"
            )
        head.weight.copy_(functional.normalize(sums))
    _train(head, unit, labels, held, config)
    return head.requires_grad_(False), _accuracy(head, unit, labels, held)


def _labels_of(segments: list[Segment], data_dir: Path, classes: list[str]) -> Tensor:
    utt2spk = read_table(data_dir / "utt2spk", fields=2)
    order = {speaker: i for i, speaker in enumerate(classes)}
    return torch.tensor([order[utt2spk[s.utterance]] for s in segments])


@torch.no_grad()
def _accuracy(head: CosineHead, embeddings: Tensor, labels: Tensor, held: Tensor) -> float | None:
    """Share of the held-out segments that the head recognises; None: there are none."""
    return float((head(embeddings[held]).argmax(1) == labels[held]).float().mean()) if held.any() else None


def _held_out(segments: list[Segment], labels: Tensor, config: HeadConfig) -> Tensor:
    """Mark whole utterances, never the last one of a speaker."""
    generator = np.random.default_rng(config.seed)
    speaker_of = {s.utterance: int(label) for s, label in zip(segments, labels, strict=True)}
    left: dict[int, int] = {}
    for speaker in speaker_of.values():
        left[speaker] = left.get(speaker, 0) + 1
    held: set[str] = set()
    for utterance in generator.permutation(sorted(speaker_of)):
        speaker = speaker_of[str(utterance)]
        if left[speaker] > 1 and len(held) < config.held_out * len(speaker_of):
            held.add(str(utterance))
            left[speaker] -= 1
    return torch.tensor([s.utterance in held for s in segments])


def _train(head: CosineHead, unit: Tensor, labels: Tensor, held: Tensor, config: HeadConfig) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(config.seed)
    seen, seen_labels = unit[~held], labels[~held]
    best, kept, since = -1.0, head.weight.detach().clone(), 0
    for epoch in range(config.epochs):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * one_cycle(epoch / config.epochs, 0.1)
        for rows in torch.split(torch.randperm(len(seen), generator=generator), config.batch):
            loss = aam_loss(head(seen[rows]), seen_labels[rows], config.margin, config.scale)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        accuracy = _accuracy(head, unit, labels, held)
        since += 1
        if accuracy is None or accuracy >= best:
            best, kept, since = accuracy or 0.0, head.weight.detach().clone(), 0
        if since >= config.patience:
            break
    with torch.no_grad():
        head.weight.copy_(kept)
