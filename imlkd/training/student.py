"""Stage 4: a student, distilled by one method from the targets that stage 3 left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imlkd.attribution.origin import NAME, NO_RELEVANCE, Origin, check_origin, training_table
from imlkd.attribution.targets import classes_of
from imlkd.config import bounded, chosen, load_config, save_config, variant
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.combined import TwoViews
from imlkd.distillation.integrated_inputs import GateConfig, soft_gate
from imlkd.distillation.method import Method
from imlkd.distillation.methods.no_teacher import NoTeacher
from imlkd.distillation.objective import Objective, build_method
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig
from imlkd.features.extract import FeaturesConfig
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.segment_table import ids_of
from imlkd.features.segments import Segment
from imlkd.files import make_dir
from imlkd.models.networks import CONFIGS, NetworkSettings, name_of
from imlkd.models.store import WEIGHTS, load_weights
from imlkd.training.config import FineTuningConfig, TrainingConfig
from imlkd.training.curve import Curve
from imlkd.training.device import training_device
from imlkd.training.frames import FramesConfig
from imlkd.training.gates import IntegratedInputs, check_relevance_name, has_integrated, is_cached
from imlkd.training.identity import Identity, settings_of
from imlkd.training.live_teacher import LiveTeacher, last_stages, prepare_method, with_adapters
from imlkd.training.pool import load_pool
from imlkd.training.processes import join_group
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.start import follow_teacher, warn_of_size
from imlkd.training.stored_arrays import stored_arrays
from imlkd.training.teacher import build_model, finish
from imlkd.training.trainer import Trainer, prepare_torch


@dataclass(frozen=True)
class StudentConfig:
    """Network and training of a student; its segments are those of stage 3."""

    network: NetworkSettings = variant(CONFIGS, by="model")
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: str = chosen("tdnn", tuple(CONFIGS), help="the network whose keys `network` holds")
    start: str = chosen("fresh", ("fresh", "teacher"), help="weights: drawn, or the teacher's where name and shape fit")
    head: str = chosen("own", ("own", "teacher"), help="class weights: learned, or the teacher's, frozen")
    label_weight: float = bounded(1.0, low=0.0, high=1000.0, help="of the margin loss on the classes; 0: none")
    gate: GateConfig = field(default_factory=GateConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    views: int = chosen(1, (1, 2), help="2: methods of one view get a masked one beside it, at equal student passes")

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", name_of(self.network))  # also where only the network is given


def fine_tuned(config: StudentConfig, epochs: int) -> StudentConfig:
    """The configuration of ``epochs`` of large-margin fine-tuning (Thienpondt et al., ICASSP 2021) after ``config``."""
    own, before = config.fine_tuning, config.training
    training = replace(
        before, epochs=epochs, margin=own.margin, learning_rate=own.rate * before.learning_rate, longest=own.longest,
        softmax=replace(before.softmax, begin=0.0, end=0.0), ramp=0.0,
    )  # fmt: skip
    return replace(config, training=training)


class TeacherTargets:
    """The arks of ``targets_<set>/`` in the order of the segments; only what the method needs, and a batch, is read.

    :param inputs: what makes the integrated inputs; None: the soft gate that stage 3 cached.
    :param gate: how often there are integrated inputs, and whether the student hears them.
    """

    def __init__(
        self,
        folder: Path,
        segments: Sequence[Segment],
        method: Method,
        scale: float,
        inputs: IntegratedInputs | None = None,
        gate: GateConfig | None = None,
    ) -> None:
        from imlkd.attribution.relevance import RelevanceConfig

        self.scale = scale
        self.rho = load_config(RelevanceConfig, folder / "config.yaml").rho
        needs = method.needs
        self.inputs, self.gate = inputs, gate or GateConfig()
        self.explains = needs.input_gradient  # relevance is wanted of every batch, integrated or not
        cached = needs.relevance and inputs is None
        wanted = {
            "cosines": needs.teacher_logits, "cosines_gated": cached, "relevance": cached,
            "embedding": needs.teacher_embedding,
        }  # fmt: skip
        kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        arrays = stored_arrays([folder / f"{kind}.scp" for kind in kinds], ids_of(segments))
        found = dict(zip(kinds, arrays, strict=True))
        self.cosines, self.cosines_gated = found.get("cosines"), found.get("cosines_gated")
        self.relevance, self.embeddings = found.get("relevance"), found.get("embedding")
        self.teacher: LiveTeacher | None = None

    @property
    def embedding_dim(self) -> int | None:
        """Values of the teacher's embedding, where it is read."""
        return None if self.embeddings is None else len(self.embeddings[0])

    def batch(self, pool: SegmentPool, chosen: Indices) -> DistillationBatch:
        """Features, labels and the teacher's answers of the chosen segments."""
        batch = DistillationBatch(pool.crops(chosen), pool.classes(chosen))
        if self.cosines is not None:
            batch.teacher_logits = self.scale * self.cosines.rows(chosen)
        if self.relevance is not None or self.inputs is not None:
            integrated = has_integrated(self.gate)
            if integrated or self.explains:
                self._integrate(batch, pool, chosen)
            if not integrated:
                batch.gate, batch.integrated = None, None
        if self.embeddings is not None:
            batch.teacher_embedding = self.embeddings.rows(chosen)
        if self.teacher is not None:
            batch.teacher_output = self.teacher.hear(pool, chosen, batch.features)
        return batch

    def _integrate(self, batch: DistillationBatch, pool: SegmentPool, chosen: Indices) -> None:
        """Relevance, integrated input and the teacher's answer to it, from the cache or computed now."""
        if self.inputs is not None:
            self.inputs.fill(batch, pool, chosen, self.scale)
        else:
            assert self.relevance is not None and self.cosines_gated is not None
            batch.relevance = self.relevance.rows(chosen)
            batch.gate = soft_gate(batch.relevance, self.rho)
            batch.teacher_logits_gated = self.scale * self.cosines_gated.rows(chosen)
        if self.gate.student == "clean":
            batch.gate, batch.integrated = None, batch.features


def train_student(
    data_dir: Path,
    targets_dir: Path,
    config: StudentConfig,
    method: Method,
    folder: Path,
    made_from: Mapping[str, str],
    progress: Path | None = None,
    teacher: Path | None = None,
    init: Path | None = None,
    expected: Curve | None = None,
    allow_pipes: bool = False,
) -> None:
    """Distil a student and leave it in ``folder``, with its configuration and minutes.

    :param made_from: digests of what the training depends on beside its configuration, by name.
    :param teacher: whose answers the targets have to be; None: the model whose folder they lie in, if any.
    :param init: folder of a finished student of the same network whose weights are the first ones.
    :param expected: the curve that it is held against.
    :param allow_pipes: whether commands of wav.scp may run, where frames or a teacher beside the student need audio.
    """
    join_group()
    if not config.label_weight and isinstance(method, NoTeacher):
        raise UserError("label_weight: 0 and method none: nothing is left to learn from: take a method, or a weight")
    prepare_torch(config.training.threads, config.training.seed)
    config = replace(config, network=with_adapters(config.network, method))
    make_dir(folder)
    save_config(config, folder / "config.yaml")
    classes = classes_of(data_dir, targets_dir)
    segments = training_table(targets_dir, data_dir)
    fbank = load_config(FeaturesConfig, data_dir / "features.yaml").fbank
    pool = load_pool(data_dir, segments, classes, config.frames, config.augment, targets_dir, allow_pipes)
    # A forked worker can't use a GPU, so a teacher that runs in workers stays on the CPU.
    beside = torch.device("cpu") if config.training.loader.workers else training_device()
    with torch.random.fork_rng(devices=[]):  # a teacher that is built draws numbers, and must not move the student's
        inputs = _inputs(config.gate, method, targets_dir, segments, teacher, data_dir, fbank, beside, allow_pipes)
    targets = TeacherTargets(targets_dir, segments, method, config.training.scale, inputs, config.gate)
    _check_classes(targets, classes, targets_dir)
    model = build_model(config.network, fbank, classes, pool.frames.mean(0), config.training.softmax.sub_centres)
    if init is not None:
        load_weights(model, init / WEIGHTS)
        print(f"start: the weights of {init}", flush=True)
    warn_of_size(model, targets_dir)
    follow_teacher(model, config.start, config.head, targets_dir)
    if method.needs.teacher_stages:
        targets.teacher = LiveTeacher(targets_dir.parent, fbank, data_dir, beside, allow_pipes)
    settings = settings_of(config) | _settings_of_method(method)
    if config.views == 2:
        method = TwoViews(method)
    first = np.arange(1)
    heard = None if targets.teacher is None else targets.teacher.hear(pool, first, pool.crops(first))
    prepare_method(method, model, targets.teacher, targets.embedding_dim, pool.crops(first), heard)
    if targets.teacher is not None:
        method.fit(partial(last_stages, targets.teacher, pool, config.training.seed))
    objective = Objective(method, config.training.margin, config.training.scale)
    objective.label_weight = config.label_weight

    def with_targets(chosen: Indices) -> DistillationBatch:
        return targets.batch(pool, chosen)

    identity = Identity(_with_teacher(made_from, targets_dir), settings)
    trainer = Trainer(config.training, model, objective, pool, with_targets, folder, identity, progress, expected)
    seconds = trainer.run()
    if trainer.processes.leads:
        finish(model, folder, seconds)


def _settings_of_method(method: Method) -> dict[str, Any]:
    config = getattr(method, "config", None)
    return {} if config is None else settings_of(config, "method.")


def _with_teacher(made_from: Mapping[str, str], targets_dir: Path) -> dict[str, str]:
    """The inputs, and the teacher whose answers the targets are, where stage 3 has noted it."""
    known = load_config(Origin, targets_dir / NAME).teacher if (targets_dir / NAME).is_file() else ""
    return {**made_from, **({"the teacher": known} if known else {})}


def _inputs(
    gate: GateConfig, method: Method, targets_dir: Path, segments: Sequence[Segment], teacher: Path | None,
    data_dir: Path, fbank: FbankConfig, device: torch.device, allow_pipes: bool,
) -> IntegratedInputs | None:  # fmt: skip
    """What makes the integrated inputs, if the cache does not; targets of another teacher are refused."""
    check_relevance_name(gate.relevance)
    needs = method.needs
    known = teacher or (targets_dir.parent if (targets_dir.parent / WEIGHTS).is_file() else None)
    if known is not None and (needs.teacher_logits or needs.teacher_embedding or needs.relevance):
        origin = check_origin(targets_dir, known)
        if needs.relevance and origin.relevance == NO_RELEVANCE:
            raise UserError(
                f"{targets_dir}: its teacher is a table of embeddings, which has no relevance, and the method needs it:"
                " take a method of embeddings or logits (imlkd methods)"
            )
    if not needs.relevance or is_cached(gate, targets_dir):
        return None
    teacher = known or targets_dir.parent
    return IntegratedInputs(gate, targets_dir, segments, teacher, data_dir, LogMel(fbank), device, allow_pipes)


def _check_classes(targets: TeacherTargets, classes: list[str], targets_dir: Path) -> None:
    theirs = len(classes) if targets.cosines is None else len(targets.cosines[0])
    if theirs != len(classes):
        raise UserError(
            f"{targets_dir}: targets are over {theirs} speakers, the data has {len(classes)}: run stage 3 again"
        )


def method_of(name: str, config_path: Path | None, folder: Path, overrides: list[str]) -> Method:
    """Build the method and keep its resolved configuration beside the student."""
    method = build_method(name, config_path, overrides)
    if hasattr(method, "config"):
        save_config(method.config, folder / "method.yaml")
    return method
