"""`mlxv`: multi-level x-vector distillation (Liu, Sahidullah, Kinnunen, arXiv 2303.01125).

    L = w * (1 - cos( h(e_S), v )),   v = [ n(u^1) ... n(u^K) n(e_T) ],  u^k = mean and deviation of F_T^k over time

The student's embedding, through a linear map h that is dropped, points where the teacher's embeddings of several levels
do, joined into one vector, each at unit length. Published: levels and joining; the loss is our reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.methods.emb_cos import cosine_distance
from imlkd.distillation.stages import statistics
from imlkd.models.speaker_model import SpeakerOutput


@dataclass(frozen=True)
class MlxvConfig:
    """Weight."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")


def levels(teacher: SpeakerOutput) -> Tensor:
    """Statistics of each stage and the embedding, each at unit length, side by side: (B, sum of widths)."""
    own = [statistics(stage.float()) for stage in teacher.stages] + [teacher.embedding.float()]
    return torch.cat([functional.normalize(level) for level in own], 1)


class Mlxv(Method):
    """One term, ``levels``."""

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"embeddings"})

    def __init__(self, config: MlxvConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.projection = nn.Linear(student.embedding, 2 * sum(teacher.stages) + teacher.embedding)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        projected = self.projection(views[0].output.embedding)
        return {"levels": self.config.weight * cosine_distance(projected, levels(batch.teacher_output))}
