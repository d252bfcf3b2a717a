"""What a method sees of one training step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class DistillationBatch:
    """One batch of segments of one duration, with the teacher's answers.

    :param features: (B, T, F) of the student's front-end.
    :param labels: (B,) class indexes.
    :param teacher_logits: (B, C) at the student's scale; None without a teacher.
    :param gate: (B, T) of the integrated inputs; None when the method does not use them.
    :param teacher_logits_gated: (B, C), the teacher's answer to the gated input.
    """

    features: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    gate: Tensor | None = None
    teacher_logits_gated: Tensor | None = None
