"""The training loop, for teachers and students alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.diagnosis import warnings
from imlkd.distillation.objective import Objective
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel
from imlkd.progress import Progress
from imlkd.training.checkpoint import restore_checkpoint, save_checkpoint
from imlkd.training.log import TrainingLog
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.schedule import one_cycle, ramp


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained."""

    epochs: int = bounded(30, low=1, high=100000, help="passes over the utterances")
    batch: int = bounded(64, low=2, help="segments of 2 s a step; shorter ones come in larger batches")
    crops: int = bounded(1, low=1, help="segments of each utterance an epoch")
    learning_rate: float = bounded(3e-3, low=0.0, high=10.0, help="peak")
    weight_decay: float = bounded(1e-4, low=0.0, high=10.0, help="AdamW's, not on norms and biases")
    warm_up: float = bounded(0.15, low=0.0, high=0.9, help="share of the training over which the rate rises")
    ramp: float = bounded(0.07, low=0.0, high=1.0, help="share of the training over which the method's terms rise")
    margin: float = bounded(0.2, low=0.0, high=1.5, help="AAM, radians")
    scale: float = bounded(30.0, low=1.0, high=1000.0, help="of the cosines")
    clip: float = bounded(5.0, low=0.0, help="largest gradient norm")
    seed: int = bounded(1, low=0, help="of weights and batches")
    threads: int = bounded(0, low=0, help="of a training, 0: all cores")


MakeBatch = Callable[[Indices], DistillationBatch]


class Trainer:
    """Trains ``model`` with ``objective``; leaves a checkpoint after each epoch, and a log."""

    def __init__(
        self,
        config: TrainingConfig,
        model: SpeakerModel,
        objective: Objective,
        pool: SegmentPool,
        make_batch: MakeBatch,
        folder: Path,
        made_from: str,
        progress: Path | None = None,
    ) -> None:
        self.config, self.model, self.objective, self.pool = config, model, objective, pool
        self.make_batch, self.folder, self.made_from, self.progress = make_batch, folder, made_from, progress
        self._warned: set[str] = set()
        self.modules: dict[str, nn.Module] = {"model": model, "objective": objective}
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate)

    def _groups(self) -> list[dict[str, object]]:
        """No weight decay on norms and biases."""
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def run(self) -> float:
        """Train to the end, from the last checkpoint if there is one; returns the seconds spent in all."""
        config = self.config
        done, seconds, said = restore_checkpoint(self.folder, self.made_from, self.modules, self.optimizer)
        print(said, flush=True)
        log = TrainingLog(self.folder, done)
        with Progress(self.folder.name, config.epochs, self.progress) as progress:
            progress.update(done)
            for epoch in range(done, config.epochs):
                started = time.perf_counter()
                means = self._epoch(epoch)
                seconds += time.perf_counter() - started
                log.add({"epoch": epoch + 1, "seconds": round(seconds, 2), **means, **self.objective.diagnosis})
                save_checkpoint(self.folder, self.made_from, epoch + 1, seconds, self.modules, self.optimizer)
                note = " ".join(f"{name} {value:.3g}" for name, value in means.items())
                print(f"epoch {epoch + 1}/{config.epochs} {note}", flush=True)
                self._warn(epoch)
                progress.update(1, note)
        return seconds

    def _warn(self, epoch: int) -> None:
        """What is wrong with the terms, when it is new."""
        for line in warnings(self.objective.diagnosis):
            subject = line.partition(" is ")[0]
            if subject not in self._warned:
                print(f"epoch {epoch + 1}: warning: {line}", flush=True)
                self._warned.add(subject)

    def _epoch(self, epoch: int) -> dict[str, float]:
        config = self.config
        self.model.train()
        batches = self.pool.epoch_batches(config.batch * 200, config.crops, config.seed, epoch)
        sums: dict[str, float] = {}
        for i, chosen in enumerate(batches):
            share = (epoch + i / len(batches)) / config.epochs
            self.objective.watching = i == 0
            for name, value in self._step(chosen, share).items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: round(value / len(batches), 5) for name, value in sums.items()}

    def _step(self, chosen: Indices, share: float) -> dict[str, float]:
        config = self.config
        batch = self.make_batch(chosen)
        loss, terms = self.objective(self.model, batch, ramp(share, config.ramp))
        if not math.isfinite(loss.item()):
            bad = [name for name, term in terms.items() if not math.isfinite(term.item())]
            names = " ".join(self.pool.segments[i].id for i in chosen[:5])
            raise UserError(f"loss is not finite ({', '.join(bad)}) on a batch with {names}: lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * one_cycle(share, config.warm_up)
        self.optimizer.step()
        return {"loss": loss.item(), **{name: term.item() for name, term in terms.items()}}


def prepare_torch(threads: int, seed: int) -> None:
    """Fix threads, seed and algorithms, so that the same machine gives the same result."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
