"""What a method sees of one training step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from imlkd.models.speaker_model import SpeakerOutput


@dataclass
class DistillationBatch:
    """One batch of segments of one duration, with the teacher's answers.

    :param features: (B, T, F) of the student's front-end.
    :param labels: (B,) class indexes.
    :param teacher_logits: (B, C) at the student's scale; None without a teacher.
    :param gate: (B, T), or (B, T, F), of the integrated inputs; None when the method does not use them.
    :param teacher_logits_gated: (B, C), the teacher's answer to the gated input.
    :param teacher_embedding: (B, D), of any length.
    :param teacher_output: the teacher's answer to ``features`` with its stages, where it runs beside the student.
    :param relevance: (B, T) in [0, 1], the teacher's.
    :param integrated: (B, T, F), the integrated input where it is no gate.
    """

    features: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    gate: Tensor | None = None
    teacher_logits_gated: Tensor | None = None
    teacher_embedding: Tensor | None = None
    teacher_output: SpeakerOutput | None = None
    relevance: Tensor | None = None
    integrated: Tensor | None = None

    def to(self, device: torch.device) -> DistillationBatch:
        """The batch on a device; itself where it lies there."""
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            moved[item.name] = None if value is None else value.to(device, non_blocking=True)
        return DistillationBatch(**moved)


def parts_of(batch: DistillationBatch, count: int) -> list[DistillationBatch]:
    """The batch in ``count`` parts of whole rows, fewer where a part would have less than two."""
    rows = len(batch.labels)
    count = max(1, min(count, rows // 2))
    if count == 1:
        return [batch]
    edges = [rows * i // count for i in range(count + 1)]
    return [_rows(batch, slice(a, b)) for a, b in itertools.pairwise(edges)]


def _rows(batch: DistillationBatch, place: slice) -> DistillationBatch:
    cut: dict[str, Any] = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        cut[item.name] = rows_of(value, place) if isinstance(value, SpeakerOutput) else _cut(value, place)
    return DistillationBatch(**cut)


def _cut(value: Tensor | None, place: slice) -> Tensor | None:
    return None if value is None else value[place]


@dataclass
class View:
    """What the student says of one of its inputs.

    :param features: (B, T, F), its input.
    :param output: stages, pooled, embedding and cosines.
    :param logits: (B, C) margin-free cosines times the scale.
    """

    features: Tensor
    output: SpeakerOutput
    logits: Tensor


def split_output(output: SpeakerOutput, rows: int) -> list[SpeakerOutput]:
    """The output of several views in one batch, (V * rows, ...), as one output a view."""
    count = len(output.embedding) // rows
    parts = []
    for i in range(count):
        parts.append(rows_of(output, slice(i * rows, (i + 1) * rows)))
    return parts


def rows_of(output: SpeakerOutput, place: slice) -> SpeakerOutput:
    """Some rows of a network's answer."""
    cosines = None if output.cosines is None else output.cosines[place]
    stages = [stage[place] for stage in output.stages]
    return SpeakerOutput(stages, output.pooled[place], output.embedding[place], cosines)
