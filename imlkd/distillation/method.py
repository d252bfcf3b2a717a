"""What a distillation method is: a config, what it needs, and named loss terms."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from imlkd.distillation.batch import DistillationBatch


@dataclass(frozen=True)
class Needs:
    """What must be at hand before training; checked before the first step."""

    labels: bool = True
    teacher_logits: bool = False
    relevance: bool = False


class Method(nn.Module):
    """Base of the methods. Trainable projections, if any, are its parameters; they are dropped after training."""

    needs = Needs()

    def views(self, batch: DistillationBatch) -> list[Tensor]:
        """The inputs (B, T, F) of the student's passes; the first is always the plain one."""
        return [batch.features]

    def terms(self, batch: DistillationBatch, logits: list[Tensor]) -> dict[str, Tensor]:
        """Weighted loss terms by name; ``logits`` holds the student's (B, C) for each view."""
        raise NotImplementedError
