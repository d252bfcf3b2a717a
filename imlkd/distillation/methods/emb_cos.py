"""`emb-cos`: the student's embedding points where the teacher's does (Wang et al., ICASSP 2019).

    L = w * (1/B) sum_b ( 1 - cos(h(e_S), e_T) )

h is the identity where both embeddings have as many values, else a linear map that is dropped after training.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths


@dataclass(frozen=True)
class EmbCosConfig:
    """Weight."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine over the rows of two (B, D)."""
    return 1.0 - functional.cosine_similarity(in_full(student), in_full(teacher), dim=1).mean()


def projection(student: int, teacher: int) -> nn.Module:
    """The identity where the widths agree, else a linear map."""
    return nn.Identity() if student == teacher else nn.Linear(student, teacher)


class EmbCos(Method):
    """One term, ``embedding``."""

    needs = Needs(teacher_embedding=True)
    aligns = frozenset({"embeddings"})

    def __init__(self, config: EmbCosConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.projection = projection(student.embedding, teacher.embedding)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_embedding is not None
        projected = self.projection(views[0].output.embedding)
        return {"embedding": self.config.weight * cosine_distance(projected, batch.teacher_embedding)}
