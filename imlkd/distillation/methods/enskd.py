"""`enskd`: emphasised non-target speaker knowledge (Truong et al., ICASSP 2024, arXiv 2309.14838).

    L = w * tau^2 * [ KL(b_T || b_S) + gamma KL(q_T || q_S) ]

The terms of `dkd` with the other speakers weighted up by one number. Published in code: tau 1, gamma 2, a ramp over the
first epochs (here the training's ``ramp``), logits that contain the margin. Ours are margin-free, for the margin makes
a well-trained teacher look unsure of the target; then tau 1 transfers the hard label alone, so tau is 2 by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs
from imlkd.distillation.methods.dkd import others_term, target_term


@dataclass(frozen=True)
class EnskdConfig:
    """Weights and temperature."""

    weight: float = bounded(1.0, low=0.0, help="w, of both terms")
    gamma: float = bounded(2.0, low=0.0, help="of the non-target speakers' term")
    temperature: float = bounded(2.0, low=0.1, high=100.0, help="tau")


class Enskd(Method):
    """Terms ``target`` and ``nontarget``."""

    needs = Needs(labels=True, teacher_logits=True)
    aligns = frozenset({"posteriors"})

    def __init__(self, config: EnskdConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        config, tau = self.config, self.config.temperature
        answers = views[0].logits, batch.teacher_logits, batch.labels, tau
        return {
            "target": config.weight * tau**2 * target_term(*answers).mean(),
            "nontarget": config.weight * config.gamma * tau**2 * others_term(*answers).mean(),
        }
