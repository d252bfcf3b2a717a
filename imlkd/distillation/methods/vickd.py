"""`vickd`: variance, invariance and covariance, adversarially (Guimaraes et al., ICASSP 2024, arXiv 2309.12914).

    L = w * [ lambda inv + mu var + nu cov ],  on x, and where epsilon > 0 also on x_adv
    inv = mean (z_T - z_S)^2,  var = mean_j max(0, 1 - sqrt(Var z_S,j + 1e-4)),  cov = (1/D) sum_{i != j} Cov(z_S)_ij^2

z_S = h(e_S), h linear and dropped after training; z_T the teacher's embedding, standardised in the batch so that a
variance of 1 is the teacher's own. The three terms and their weights are VICReg's (Bardes, Ponce, LeCun, ICLR 2022,
eq. 1-6); the teacher is frozen, so var and cov act on the student alone. x_adv = x + epsilon s sign(grad inv) in one
step, s the features' deviation: our reading of the adversarial part. It is a second student pass, off by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class VickdConfig:
    """Weights, and how far an adversarial input may go."""

    weight: float = bounded(0.04, low=0.0, help="w, of the whole")
    weight_invariance: float = bounded(25.0, low=0.0, help="lambda")
    weight_variance: float = bounded(25.0, low=0.0, help="mu")
    weight_covariance: float = bounded(1.0, low=0.0, help="nu")
    epsilon: float = bounded(0.0, low=0.0, high=1.0, help="step of x_adv, in deviations of the features; 0: none")


def variance_term(rows: Tensor) -> Tensor:
    """How far the deviation of each value of (B, D) falls short of 1, on average."""
    return torch.relu(1.0 - (rows.var(0) + 1e-4).sqrt()).mean()


def covariance_term(rows: Tensor) -> Tensor:
    """Sum of the squared covariances between different values of (B, D), over D."""
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / (len(rows) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / rows.shape[1]


class Vickd(Method):
    """Terms ``invariance``, ``variance``, ``covariance``; with ``_adv`` those of the adversarial input."""

    needs = Needs(teacher_embedding=True)
    aligns = frozenset({"embeddings"})

    def __init__(self, config: VickdConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.projection = nn.Linear(student.embedding, teacher.embedding)
        self.normalisation = nn.BatchNorm1d(teacher.embedding, affine=False)

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        if not self.config.epsilon:
            return [batch.features]
        return [batch.features, self._adversarial(batch, model)]

    def _adversarial(self, batch: DistillationBatch, model: SpeakerModel) -> Tensor:
        """x_adv, found with running statistics, which it leaves alone."""
        assert batch.teacher_embedding is not None
        modes = [(module, module.training) for module in (model, self)]
        for module, _ in modes:
            module.eval()
        features = batch.features.detach().requires_grad_()
        embedding = model(features, torch.full((len(features),), features.shape[1])).embedding
        target = self.normalisation(in_full(batch.teacher_embedding))
        (gradient,) = torch.autograd.grad((self.projection(embedding) - target).square().mean(), features)
        for module, training in modes:
            module.train(training)
        step = self.config.epsilon * batch.features.std((1, 2), keepdim=True)
        return (batch.features + step * gradient.sign()).detach()

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_embedding is not None
        target = self.normalisation(in_full(batch.teacher_embedding))
        terms: dict[str, Tensor] = {}
        for view, suffix in zip(views, ("", "_adv"), strict=False):
            rows = in_full(self.projection(view.output.embedding))
            config = self.config
            terms |= {
                f"invariance{suffix}": config.weight * config.weight_invariance * (rows - target).square().mean(),
                f"variance{suffix}": config.weight * config.weight_variance * variance_term(rows),
                f"covariance{suffix}": config.weight * config.weight_covariance * covariance_term(rows),
            }
        return terms
