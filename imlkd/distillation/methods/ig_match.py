"""`ig-match`: the student's relevance is regressed on the teacher's (docs/method.md; after AD-KD, Wu et al., ACL 2023).

    L = w * mean_bt ( a_S - a_T )^2,   a_S from A = (x - x') * d cos_y / dx, the one-step Integrated Gradients

The gradient is trained through (double backward). Both curves are relu'd sums over the bins, brought to [0, 1] within
the segment; the teacher's comes from stage 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.integrated_inputs import mean_frame
from imlkd.distillation.method import Method, Needs


@dataclass(frozen=True)
class IgMatchConfig:
    """Weight."""

    weight: float = bounded(10.0, low=0.0, help="w, of the term")


def student_relevance(features: Tensor, explained: Tensor) -> Tensor:
    """(B, T) in [0, 1], with a graph behind it.

    :param features: (B, T, F), a leaf that requires gradients.
    :param explained: (B,) what is explained, one number a row.
    """
    (gradient,) = torch.autograd.grad(explained.sum(), features, create_graph=True)
    curve = torch.relu(((features - mean_frame(features)).detach() * gradient).sum(2))
    low, high = curve.amin(1, keepdim=True), curve.amax(1, keepdim=True)
    return (curve - low) / (high - low).clamp_min(1e-8)


class IgMatch(Method):
    """One term, ``relevance``."""

    needs = Needs(labels=True, relevance=True, input_gradient=True)
    aligns = frozenset({"relevance"})

    def __init__(self, config: IgMatchConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.relevance is not None
        target_cosines = views[0].logits.gather(1, batch.labels[:, None])[:, 0]
        curve = student_relevance(views[0].features, target_cosines)
        return {"relevance": self.config.weight * (curve - batch.relevance).square().mean()}
