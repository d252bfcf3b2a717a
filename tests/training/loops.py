"""A training small enough for a test: three voices, a network of one block, six epochs."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.distillation.objective import Objective
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import TrainingConfig
from imlkd.training.curve import Curve
from imlkd.training.identity import Identity, settings_of
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.trainer import Trainer, prepare_torch

Make = Callable[..., SegmentPool]
CONFIG = TrainingConfig(epochs=6, batch=2, learning_rate=0.01, threads=1, seed=3)


class Projected(Imlkd):
    """A method with a trainable projection, whose terms need its own state and random numbers."""

    def __init__(self) -> None:
        super().__init__(ImlkdConfig())
        self.projection = torch.nn.Linear(3, 3)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, torch.Tensor]:
        projected = [self.projection(torch.dropout(view.logits, 0.1, True)) for view in views]
        return super().terms(
            batch, [dataclasses.replace(view, logits=new) for view, new in zip(views, projected, strict=True)]
        )


class Interrupted(Exception):
    pass


def trainer(
    pool: SegmentPool,
    folder: Path,
    config: TrainingConfig = CONFIG,
    method: Method | None = None,
    made_from: str = "x",
    die_at: int | None = None,
    expected: Curve | None = None,
) -> Trainer:
    """``die_at``: the number of the step that is not made any more."""
    prepare_torch(config.threads, config.seed)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(6, ["s0", "s1", "s2"])
    model.normalization.bin_mean.copy_(pool.frames.mean(0))
    steps = 0

    def batch(chosen: Indices) -> DistillationBatch:
        nonlocal steps
        if steps == die_at:
            raise Interrupted
        steps += 1
        crops, labels = pool.crops(chosen), pool.classes(chosen)
        logits = 5 * torch.nn.functional.one_hot(labels, 3).float()
        return DistillationBatch(crops, labels, logits, 0.5 + 0.5 * torch.rand(crops.shape[:2]), logits)

    objective = Objective(method or NoTeacher(NoTeacherConfig()), config.margin, config.scale)
    identity = Identity({"data": made_from}, settings_of(config, "training."))
    return Trainer(config, model, objective, pool, batch, folder, identity, folder / "progress", expected)


def log(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log/train.jsonl").read_text().splitlines()
    timed = ("seconds", "samples_per_second", "loader_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def same(a: Trainer, b: Trainer) -> bool:
    other = b.model.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.model.state_dict().items())
