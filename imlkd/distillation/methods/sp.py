"""`sp`: similarity-preserving distillation (Tung, Mori, ICCV 2019, arXiv 1907.09682, eq. 2-4).

    L = w * (1/B^2) || G_T - G_S ||_F^2,   G = rows of E E^T at unit length

E the embeddings of a batch, (B, D): which segments look alike to the teacher look alike to the student.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs


@dataclass(frozen=True)
class SpConfig:
    """Weight."""

    weight: float = bounded(3000.0, low=0.0, help="w, of the term")


def similarities(rows: Tensor) -> Tensor:
    """(..., N, D) -> (..., N, N): inner products, each row at unit length."""
    return functional.normalize(rows @ rows.transpose(-1, -2), dim=-1)


class Sp(Method):
    """One term, ``similarity``."""

    needs = Needs(teacher_embedding=True)
    aligns = frozenset({"embedding relations"})

    def __init__(self, config: SpConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_embedding is not None
        ours = similarities(in_full(views[0].output.embedding))
        theirs = similarities(in_full(batch.teacher_embedding))
        return {"similarity": self.config.weight * (ours - theirs).square().mean()}
