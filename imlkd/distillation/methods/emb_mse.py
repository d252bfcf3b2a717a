"""`emb-mse`: the student's embedding is regressed on the teacher's (Wang et al., ICASSP 2019).

    L = w * (1/B) sum_b || h(e_S) - n(e_T) ||^2 / D

n brings the teacher's embeddings to mean 0 and deviation 1 a value in each batch, so that the weight means the same for
every teacher; h is a linear map, dropped after training (our reading: also where widths agree, for
n moves the target away from where the student's own embedding lies).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from imlkd.config import bounded
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths


@dataclass(frozen=True)
class EmbMseConfig:
    """Weight."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")


def squared_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows and values of the squared difference of two (B, D)."""
    return (in_full(student) - in_full(teacher)).square().mean()


class EmbMse(Method):
    """One term, ``embedding``."""

    needs = Needs(teacher_embedding=True)
    aligns = frozenset({"embeddings"})

    def __init__(self, config: EmbMseConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.projection = nn.Linear(student.embedding, teacher.embedding)
        self.normalisation = nn.BatchNorm1d(teacher.embedding, affine=False)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_embedding is not None
        target = self.normalisation(in_full(batch.teacher_embedding))
        return {
            "embedding": self.config.weight * squared_distance(self.projection(views[0].output.embedding), target)
        }
