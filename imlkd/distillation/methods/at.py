"""`at`: attention transfer (Zagoruyko, Komodakis, ICLR 2017, arXiv 1612.03928, section 3.1).

    L = w * mean_k mean_bt ( n(Q_S^k) - n(Q_T^k) )^2,   Q_t = mean over channels of F^2,  n = unit length over time

k runs over pairs of stages at the same relative depth. The maps of this code lie over time (channels of a
two-dimensional network include its bins), so it is attention over time: the cheap competitor of relevance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs
from imlkd.distillation.stages import paired_maps


@dataclass(frozen=True)
class AtConfig:
    """Weight."""

    weight: float = bounded(1000.0, low=0.0, help="w, of the term; squared differences of unit vectors are small")


def attention(stage: Tensor) -> Tensor:
    """(B, C, T) -> (B, T) of unit length."""
    return functional.normalize(stage.square().mean(1))


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the attention of two maps with as many frames."""
    return (attention(student) - attention(teacher)).square().mean()


class At(Method):
    """One term, ``attention``."""

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"attention over time"})

    def __init__(self, config: AtConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        pairs = paired_maps(views[0].output.stages, batch.teacher_output.stages)
        distances = [attention_distance(ours, theirs) for ours, theirs in pairs]
        return {"attention": self.config.weight * torch.stack(distances).mean()}
