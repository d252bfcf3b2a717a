"""`kd`: the student's posteriors follow the teacher's (Hinton, Vinyals, Dean, arXiv 1503.02531, section 2).

    L = w * tau^2 * KL( softmax(z_T / tau) || softmax(z_S / tau) ),  z = s * cosine, margin-free

At s = 30 and tau = 1 the teacher's posterior is nearly the hard label, so tau of 2 to 4 is where knowledge lies.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.alignment import instance_level
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs


@dataclass(frozen=True)
class KdConfig:
    """Weight and temperature."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")
    temperature: float = bounded(3.0, low=0.1, high=100.0, help="tau")


class Kd(Method):
    """One term, ``instance``."""

    needs = Needs(teacher_logits=True)
    aligns = frozenset({"posteriors"})

    def __init__(self, config: KdConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        loss = instance_level(views[0].logits, batch.teacher_logits, [self.config.temperature])
        return {"instance": self.config.weight * loss}
