"""`rkd`: relational knowledge distillation (Park, Kim, Lu, Cho, CVPR 2019, arXiv 1904.05068, eq. 4-8).

    L = w_d huber( d_S / mean d_S, d_T / mean d_T ) + w_a huber( angle_S, angle_T )

d the distances between all pairs of embeddings of a batch, angle the cosine at each corner of all triplets. On unit
embeddings, since they are compared by cosine. Triplets need B^3 numbers, so angles are taken on the first rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs


@dataclass(frozen=True)
class RkdConfig:
    """Weights."""

    weight_distance: float = bounded(25.0, low=0.0, help="w_d, of the distances")
    weight_angle: float = bounded(50.0, low=0.0, help="w_a, of the angles")
    rows: int = bounded(128, low=3, high=1024, help="rows of a batch whose angles are compared")


def relative_distances(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, B), the distances over their mean without the diagonal."""
    squared = (embeddings[:, None] - embeddings[None]).square().sum(2)
    apart = ~torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    # sqrt has no gradient at 0: the diagonal and equal rows stay 0
    distances = torch.where(squared > 0, squared.clamp_min(1e-24).sqrt(), 0.0)
    return distances / distances[apart].mean().clamp_min(1e-12)


def corner_cosines(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, B, B): cosine at corner i between the directions to j and to k."""
    directions = functional.normalize(embeddings[None] - embeddings[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


class Rkd(Method):
    """Terms ``distance`` and ``angle``."""

    needs = Needs(teacher_embedding=True)
    aligns = frozenset({"embedding relations"})

    def __init__(self, config: RkdConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_embedding is not None
        ours = functional.normalize(in_full(views[0].output.embedding))
        theirs = functional.normalize(in_full(batch.teacher_embedding))
        rows = self.config.rows
        distance = functional.smooth_l1_loss(relative_distances(ours), relative_distances(theirs))
        angle = functional.smooth_l1_loss(corner_cosines(ours[:rows]), corner_cosines(theirs[:rows]))
        return {"distance": self.config.weight_distance * distance, "angle": self.config.weight_angle * angle}
