"""`none`: no teacher, the student learns from speaker labels alone. The baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs


@dataclass(frozen=True)
class NoTeacherConfig:
    """Nothing to set."""


class NoTeacher(Method):
    """No term beside the AAM loss that the objective adds for every method."""

    needs = Needs()

    def __init__(self, config: NoTeacherConfig) -> None:
        super().__init__()

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        return {}
