"""One step: loss, gradient, update."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.objective import Objective
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel
from imlkd.training.batch_statistics import share_statistics
from imlkd.training.config import TrainingConfig
from imlkd.training.position import Work
from imlkd.training.processes import Processes
from imlkd.training.sampling import SegmentPool
from imlkd.training.schedule import one_cycle, ramp

ONE_BUCKET = 1 << 20  # MB: all gradients go around in one piece, in one order, from the first step on


class Loss(nn.Module):
    """Model and objective as the one module that is shared between processes."""

    def __init__(self, model: SpeakerModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: DistillationBatch, ramp: float) -> tuple[Tensor, dict[str, Tensor]]:
        loss: tuple[Tensor, dict[str, Tensor]] = self.objective(self.model, batch, ramp)
        return loss


class Stepper:
    """Takes steps with the weights of ``model`` and the projections of ``objective``."""

    def __init__(
        self,
        config: TrainingConfig,
        model: SpeakerModel,
        objective: Objective,
        pool: SegmentPool,
        processes: Processes,
    ) -> None:
        self.config, self.pool = config, pool
        if processes.count > 1 and config.statistics == "shared":
            share_statistics(model)
        self.loss: nn.Module = Loss(model, objective)
        if processes.count > 1:
            self.loss = DistributedDataParallel(
                self.loss, broadcast_buffers=False, find_unused_parameters=True, bucket_cap_mb=ONE_BUCKET
            )
        self.parameters = [p for module in (model, objective) for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate)
        self.stepped = [p for group in self.optimizer.param_groups for p in group["params"]]

    def _groups(self) -> list[dict[str, object]]:
        """No weight decay on norms and biases."""
        return [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def step(self, work: Work, batch: DistillationBatch) -> dict[str, float]:
        """Update the weights by one batch; returns the loss and its terms.

        :raises UserError: when the loss is not finite.
        """
        share = work.share(self.config.epochs)
        loss, terms = self.loss(batch, ramp(share, self.config.ramp))
        if not math.isfinite(loss.item()):
            bad = [name for name, term in terms.items() if not math.isfinite(term.item())]
            names = " ".join(self.pool.segments[i].id for i in work.chosen[:5])
            raise UserError(f"loss is not finite ({', '.join(bad)}) on a batch with {names}: lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        (loss * work.weight).backward()
        nn.utils.clip_grad_norm_(self.stepped, self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * one_cycle(share, self.config.warm_up)
        self.optimizer.step()
        return {name: work.weight * term.item() for name, term in {"loss": loss, **terms}.items()}
