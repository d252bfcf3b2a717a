"""`interkd`: teacher and labels reach stages inside the student (Yoon et al., SLT 2022, arXiv 2211.15075).

    L = AAM(x) + KD(x) + lambda / (1 - lambda) * mean_k [ AAM_k(x) + KD_k(x) ]

Published for CTC as a mixture (1 - lambda) * final + lambda * mean of the stages; divided by 1 - lambda the final AAM
counts as in every other method. Each chosen stage gets statistics pooling, a linear layer and a cosine head of its own,
dropped after training; KD is tau^2 KL(p_T || p_S), the teacher's last posterior for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.config import bounded
from imlkd.distillation.alignment import instance_level
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.margin import aam_loss
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.stages import statistics


@dataclass(frozen=True)
class InterkdConfig:
    """Weights, temperature and the stages' heads."""

    weight: float = bounded(1.0, low=0.0, help="of KD, at the end and at each stage")
    mixture: float = bounded(0.25, low=0.0, high=0.9, help="lambda, share of the stages in the whole")
    temperature: float = bounded(3.0, low=0.1, high=100.0, help="tau")
    depths: list[float] = bounded([0.33, 0.67], low=0.0, high=1.0, help="relative depths of the stages")
    dim: int = bounded(192, low=2, high=4096, help="values between a stage and its head")
    margin: float = bounded(0.2, low=0.0, high=1.5, help="AAM of the stages, radians")
    scale: float = bounded(30.0, low=1.0, high=1000.0, help="of the stages' cosines")


class StageHead(nn.Module):
    """(B, C, T) -> (B, classes) cosines."""

    def __init__(self, channels: int, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.BatchNorm1d(2 * channels), nn.Linear(2 * channels, dim), nn.BatchNorm1d(dim))
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, stage: Tensor) -> Tensor:
        embedding = self.linear(statistics(stage.float()))
        return functional.linear(functional.normalize(embedding), functional.normalize(self.weight))


class Interkd(Method):
    """Terms ``instance``, ``stage_aam`` and ``stage_instance``."""

    needs = Needs(labels=True, teacher_logits=True)
    aligns = frozenset({"posteriors"})
    all_classes = True

    def __init__(self, config: InterkdConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        count = len(student.stages)
        self.places = sorted({min(count - 1, int(depth * count)) for depth in self.config.depths})
        self.heads = nn.ModuleList(StageHead(student.stages[i], self.config.dim, classes) for i in self.places)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        config, taus = self.config, [self.config.temperature]
        share = config.mixture / (1.0 - config.mixture)
        stages = views[0].output.stages
        cosines = [head(stages[place]) for head, place in zip(self.heads, self.places, strict=True)]
        labelled = [aam_loss(own, batch.labels, config.margin, config.scale) for own in cosines]
        taught = [instance_level(config.scale * own, batch.teacher_logits, taus) for own in cosines]
        return {
            "instance": config.weight * instance_level(views[0].logits, batch.teacher_logits, taus),
            "stage_aam": share * torch.stack(labelled).mean(),
            "stage_instance": config.weight * share * torch.stack(taught).mean(),
        }
