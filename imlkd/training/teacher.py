"""Stage 2: a teacher of one's own, trained on speaker labels."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from imlkd.config import chosen, load_config, save_config, variant
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.objective import Objective, build_method
from imlkd.features.augment import AugmentConfig
from imlkd.features.extract import FeaturesConfig
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import SegmentsConfig
from imlkd.files import atomic_write_text, make_dir
from imlkd.models.fbank_model import FbankModel
from imlkd.models.networks import CONFIGS, NetworkSettings, build_network, name_of
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import save_model
from imlkd.training.config import TrainingConfig
from imlkd.training.curve import Curve
from imlkd.training.frames import FramesConfig
from imlkd.training.identity import Identity, settings_of
from imlkd.training.pool import grid_of, load_pool, speakers_of
from imlkd.training.processes import join_group
from imlkd.training.sampling import Indices
from imlkd.training.trainer import Trainer, prepare_torch


@dataclass(frozen=True)
class TeacherConfig:
    """Network, training and segments of a teacher trained here."""

    network: NetworkSettings = variant(CONFIGS, by="model")
    training: TrainingConfig = field(default_factory=TrainingConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: str = chosen("tdnn", tuple(CONFIGS), help="the network whose keys `network` holds")

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", name_of(self.network))  # also where only the network is given


def train_teacher(
    data_dir: Path, config: TeacherConfig, folder: Path, made_from: Mapping[str, str], progress: Path | None = None,
    expected: Curve | None = None, allow_pipes: bool = False,
) -> None:  # fmt: skip
    """Train on every speaker of ``data_dir`` and leave the model, its configuration and its minutes in ``folder``.

    :param made_from: digests of what the training depends on beside its configuration, by name.
    :param expected: the curve that it is held against.
    :param allow_pipes: whether commands of wav.scp may run, where frames come from the audio.
    """
    join_group()
    prepare_torch(config.training.threads, config.training.seed)
    make_dir(folder)
    save_config(config, folder / "config.yaml")
    classes = speakers_of(data_dir)
    fbank = load_config(FeaturesConfig, data_dir / "features.yaml").fbank
    segments = grid_of(data_dir, config.segments)
    pool = load_pool(data_dir, segments, classes, config.frames, config.augment, allow_pipes=allow_pipes)
    model = build_model(config.network, fbank, classes, pool.frames.mean(0), config.training.softmax.sub_centres)
    objective = Objective(build_method("none", None), config.training.margin, config.training.scale)

    def labels_only(chosen: Indices) -> DistillationBatch:
        return DistillationBatch(pool.crops(chosen), pool.classes(chosen))

    identity = Identity(made_from, settings_of(config))
    trainer = Trainer(config.training, model, objective, pool, labels_only, folder, identity, progress, expected)
    seconds = trainer.run()
    if trainer.processes.leads:
        finish(model, folder, seconds)


def build_model(
    config: NetworkSettings, fbank: FbankConfig, classes: list[str], bin_mean: Tensor, sub_centres: int = 1
) -> FbankModel:
    """A fresh network with a head for ``classes``; ``bin_mean`` is the mean frame of the training data."""
    model = build_network(config, fbank)
    model.head = CosineHead(model.embedding_dim, classes, sub_centres)
    model.normalization.bin_mean.copy_(bin_mean)
    return model


def finish(model: FbankModel, folder: Path, seconds: float) -> None:
    """Leave the trained model and, last among its files, how long it took; and this process's peak of memory in MB."""
    atomic_write_text(folder / "log" / "seconds", f"{seconds:.1f}\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    atomic_write_text(folder / "log" / "peak_mb", f"{peak:.0f}\n")
    save_model(model.eval(), folder)
