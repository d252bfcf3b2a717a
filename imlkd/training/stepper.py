"""One step: loss, gradient, update."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from imlkd.distillation.batch import DistillationBatch, parts_of
from imlkd.distillation.objective import Objective
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel
from imlkd.training.batch_statistics import share_statistics
from imlkd.training.compiling import compiled, what_lacks
from imlkd.training.config import TrainingConfig
from imlkd.training.position import Work
from imlkd.training.processes import Processes
from imlkd.training.random_state import random_state, restore_random_state
from imlkd.training.sampling import SegmentPool
from imlkd.training.schedule import margin_share, peak_rate, ramp, rate_factor
from imlkd.training.trouble import Trouble

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
SMALLEST_SCALE = 1.0  # of float16's loss: gradients that are not finite with it are not finite in float32 either
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
        folder: Path,
    ) -> None:
        self.config, self.objective, self.processes = config, objective, processes
        self.trouble = Trouble(folder, pool, config.max_skipped)
        self.rate, self.peak = 0.0, peak_rate(config.learning_rate, config.batch, config.rate)
        device = next(model.parameters()).device
        self.scaler = GradScaler(device.type, enabled=config.precision == "float16")
        self._set_up(objective, model)
        if processes.count > 1 and config.statistics == "shared":
            share_statistics(model)
        self.loss: nn.Module = Loss(model, objective)
        if processes.count > 1:
            self.loss = DistributedDataParallel(
                self.loss, broadcast_buffers=False, find_unused_parameters=True, bucket_cap_mb=ONE_BUCKET
            )
        self.parameters = [p for module in (model, objective) for p in module.parameters()]
        self.optimizer = self._optimizer()
        self.stepped = [p for group in self.optimizer.param_groups for p in group["params"]]

    def _set_up(self, objective: Objective, model: SpeakerModel) -> None:
        """Give the objective what the configuration says of precision and classes.

        :raises UserError: when the method needs every class.
        """
        config = self.config
        objective.reduced = PRECISIONS[config.precision]
        objective.top_k, objective.top_k_margin = config.softmax.top_k, config.softmax.top_k_margin
        objective.share = config.softmax.share
        if objective.share < 1.0 and objective.method.all_classes:
            raise UserError(f"training.softmax.share {objective.share:g}: the method has to see all classes: set 1")
        if config.compile:
            lacking = what_lacks()
            objective.encode = None if lacking else compiled(model)
            if lacking and self.processes.leads:
                print(f"training.compile: off: {lacking}", flush=True)

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        if config.optimizer == "sgd":
            nesterov = config.momentum > 0
            return torch.optim.SGD(self._groups(), config.learning_rate, config.momentum, nesterov=nesterov)
        return torch.optim.AdamW(self._groups(), lr=config.learning_rate)

    def _groups(self) -> list[dict[str, object]]:
        """No weight decay on norms and biases."""
        return [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def step(self, work: Work, batch: DistillationBatch) -> dict[str, float]:
        """Update the weights by one batch; returns the loss and its terms, or nothing when the step is left out.

        :raises UserError: when loss or gradient are not finite more often than ``max_skipped`` allows, or memory ends.
        """
        config, share = self.config, work.share(self.config.epochs)
        self.objective.margin = config.margin * margin_share(share, config.softmax.begin, config.softmax.end)
        self.optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.loss.buffers()] if config.max_skipped else []
        try:
            found = self._gradient(parts_of(batch, config.accumulate), work, ramp(share, config.ramp))
        except torch.OutOfMemoryError as error:
            raise self.trouble.out_of_memory(work, batch) from error
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.stepped, config.clip).item()
        too_large = self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE  # for float16: no trouble
        bad = not math.isfinite(found["loss"]) or not (math.isfinite(norm) or too_large)
        (ill,) = self.processes.any([bad])
        if ill:
            self.scaler.update()
            self.trouble.skip(work, found, norm)
            for buffer, value in zip(self.loss.buffers(), before, strict=True):
                buffer.copy_(value)  # batch statistics have seen it
            return {}
        self.rate = self.peak * rate_factor(share, config.warm_up, config.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {name: work.weight * value for name, value in found.items()}

    def rehearse(self, work: Work, batch: DistillationBatch) -> None:
        """Loss and gradient of a batch, and nothing of it left: one that is too large is known before hours are spent.

        :raises UserError: when memory ends.
        """
        before, random = [buffer.clone() for buffer in self.loss.buffers()], random_state()
        try:
            self._gradient(parts_of(batch, self.config.accumulate), work, 1.0)
        except torch.OutOfMemoryError as error:
            raise self.trouble.out_of_memory(work, batch) from error
        for buffer, value in zip(self.loss.buffers(), before, strict=True):
            buffer.copy_(value)
        restore_random_state(random)
        self.optimizer.zero_grad(set_to_none=True)

    def _own_gradient(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is sent around inside."""
        if isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        return contextlib.nullcontext()

    def _gradient(self, parts: list[DistillationBatch], work: Work, ramp: float) -> dict[str, float]:
        """Add up the parts' gradients, sent around once, with the last; the loss and its terms over all rows."""
        rows, found = len(work.chosen), dict[str, float]()
        for part in parts:
            weight = len(part.labels) / rows
            with self._own_gradient() if part is not parts[-1] else contextlib.nullcontext():
                loss, terms = self.loss(part, ramp)
                self.scaler.scale(loss * (work.weight * weight)).backward()
            self.objective.watching = False
            for name, value in {"loss": loss, **terms}.items():
                found[name] = found.get(name, 0.0) + weight * value.item()
        return found
