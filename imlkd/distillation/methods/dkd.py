"""`dkd`: decoupled knowledge distillation (Zhao, Cui, Song, Qiu, Liang, CVPR 2022, arXiv 2203.08679, eq. 7).

    L = w * tau^2 * [ alpha KL(b_T || b_S) + beta KL(q_T || q_S) ]

b = (p_y, 1 - p_y), the target speaker against all others; q the posterior among the others alone. With alpha = 1 and
beta = 1 - p_T,y of each segment it is plain KD, which is why a sure teacher teaches nothing of the others there.
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
class DkdConfig:
    """Weights and temperature."""

    weight: float = bounded(1.0, low=0.0, help="w, of both terms")
    alpha: float = bounded(1.0, low=0.0, help="of the target speaker's term")
    beta: float = bounded(2.0, low=0.0, help="of the other speakers' term")
    temperature: float = bounded(2.0, low=0.1, high=100.0, help="tau")


def target_term(student: Tensor, teacher: Tensor, labels: Tensor, tau: float) -> Tensor:
    """KL between (p_y, 1 - p_y) of teacher and student, (B,); logits (B, C), labels (B,)."""
    ours, theirs = _log_binary(student, labels, tau), _log_binary(teacher, labels, tau)
    return (theirs.exp() * (theirs - ours)).sum(1)


def others_term(student: Tensor, teacher: Tensor, labels: Tensor, tau: float) -> Tensor:
    """KL between the posteriors among the classes that are not the label's, (B,)."""
    ours, theirs = _log_others(student, labels, tau), _log_others(teacher, labels, tau)
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)


def _log_others(logits: Tensor, labels: Tensor, tau: float) -> Tensor:
    """(B, C - 1) log posteriors."""
    logits = in_full(logits)
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, labels[:, None], False)
    return functional.log_softmax(logits[others].view(len(logits), -1) / tau, 1)


def _log_binary(logits: Tensor, labels: Tensor, tau: float) -> Tensor:
    """(B, 2): log p_y and log(1 - p_y), the latter as a sum over the others, which stays exact where p_y is near 1."""
    scaled = in_full(logits) / tau
    others = torch.ones_like(scaled, dtype=torch.bool).scatter(1, labels[:, None], False)
    rest = scaled[others].view(len(scaled), -1).logsumexp(1, keepdim=True)
    return functional.log_softmax(torch.cat([scaled.gather(1, labels[:, None]), rest], 1), 1)


class Dkd(Method):
    """Terms ``target`` and ``others``."""

    needs = Needs(labels=True, teacher_logits=True)
    aligns = frozenset({"posteriors"})

    def __init__(self, config: DkdConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        config, tau = self.config, self.config.temperature
        answers = views[0].logits, batch.teacher_logits, batch.labels, tau
        return {
            "target": config.weight * config.alpha * tau**2 * target_term(*answers).mean(),
            "others": config.weight * config.beta * tau**2 * others_term(*answers).mean(),
        }
