"""Integrated inputs of a training batch: whose relevance, which gate, and what the teacher says of its own gated input.

Stage 3 leaves the teacher's answer to the soft gate by each segment's own relevance. For any other choice the teacher
runs beside the student: it hears the crop, explains it where ``gate.relevance`` is ``online``, and answers its gated
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.curves import FUSED
from imlkd.attribution.online import Heard, OnlineTeacher
from imlkd.attribution.origin import check_origin, front_end_digest
from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.attribution.targets import CPU, explainer_beside
from imlkd.config import load_config
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.integrated_inputs import (
    NEED_MAP,
    GateConfig,
    frame_energy,
    map_gate,
    overlaid,
    soft_gate,
    time_gate,
)
from imlkd.errors import UserError
from imlkd.features.segment_table import SegmentTable, ids_of
from imlkd.features.segments import Segment
from imlkd.models.speaker_model import FrontEnd
from imlkd.models.store import WEIGHTS
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.stored_arrays import StoredArrays, stored_arrays

SEGMENT, ONLINE = "segment", "online"


def is_cached(config: GateConfig, targets_dir: Path) -> bool:
    """Whether stage 3 left all of it: the soft gate by the segments' own relevance, and the answer to it."""
    settings = load_config(RelevanceConfig, targets_dir / "config.yaml")
    same_rho = config.rho is None or config.rho == settings.rho
    return config.kind == "soft" and config.relevance == SEGMENT and config.target == "gated" and same_rho


def has_integrated(config: GateConfig) -> bool:
    """Whether the next batch is among the share with integrated inputs; draws from torch's generator below 1 alone."""
    return config.share >= 1.0 or float(torch.rand(())) < config.share


class IntegratedInputs:
    """Fills batches with the integrated input of a configuration.

    :param teacher: its model folder.
    :param frontend: the student's.
    :param device: where a teacher beside the student computes; batches are made on the CPU.
    :param allow_pipes: whether commands of wav.scp may run, for a teacher that hears the audio.
    :raises UserError: for a map of another teacher or duration, or where teacher and student do not fit the gate.
    """

    def __init__(
        self, config: GateConfig, targets_dir: Path, segments: Sequence[Segment], teacher: Path, data_dir: Path,
        frontend: FrontEnd, device: torch.device = CPU, allow_pipes: bool = False,
    ) -> None:  # fmt: skip
        config.check()
        self.config, self.segments = config, segments
        settings = load_config(RelevanceConfig, targets_dir / "config.yaml")
        self.settings, self.rho = settings, settings.rho if config.rho is None else config.rho
        self._relevance = None if config.relevance == ONLINE else self._stored(targets_dir)
        self.teacher: OnlineTeacher | None = None
        if config.kind in NEED_MAP and config.relevance != ONLINE:
            raise UserError(
                f"gate.kind {config.kind}: needs the map over frames and bins, and stage 3 keeps frames:"
                f" set gate.relevance={ONLINE}"
            )
        if config.relevance == ONLINE or (config.target == "gated" and config.kind != "id"):
            if not (teacher / WEIGHTS).is_file():
                raise UserError(f"{teacher}: holds no teacher, which this gate runs beside the student: give --teacher")
            settings = replace(settings, sign="relu") if config.kind in NEED_MAP else settings
            explainer = explainer_beside(teacher, data_dir, settings, allow_pipes, device)
            self.teacher = OnlineTeacher(explainer, config.nodes)
            theirs = self.teacher.explainer.model.frontend
            if config.kind in NEED_MAP and self.teacher.explainer.model.is_opaque:
                raise UserError(f"gate.kind {config.kind}: needs a map over bins, and {teacher} gives no gradient")
            if config.kind in NEED_MAP and front_end_digest(theirs) != front_end_digest(frontend):
                raise UserError(
                    f"gate.kind {config.kind}: lies over time and bins, but {teacher} and the student hear different"
                    " features: take a gate over time (soft, top, del, path, perm)"
                )

    def _stored(self, folder: Path) -> StoredArrays:
        """Relevance of each segment, or the curve of each utterance."""
        if self.config.relevance == SEGMENT:
            return stored_arrays([folder / "relevance.scp"], ids_of(self.segments))[0]
        curve = self.config.relevance
        check_origin(folder, curve=curve)
        self._table = SegmentTable.over(self.segments)
        return stored_arrays([folder / f"curves/{curve}/relevance.scp"], self._table.names, "utterances")[0]

    def _relevance_of_segments(self, stored: StoredArrays, chosen: Indices) -> Tensor:
        """(B, T) from the disk."""
        if self.config.relevance == SEGMENT:
            return stored.rows(chosen)
        own = self._table
        parts = zip(own.utterance[chosen], own.start[chosen], own.frames[chosen], strict=True)
        return torch.from_numpy(np.stack([stored[name][start : start + frames] for name, start, frames in parts]))

    def fill(self, batch: DistillationBatch, pool: SegmentPool, chosen: Indices, scale: float) -> None:
        """Set relevance, gate or integrated input, and the teacher's logits for it.

        :param pool: of the student; with online relevance the teacher hears its crops as they are augmented.
        """
        config = self.config
        heard = None
        if self.teacher is not None:
            waveforms = pool.waveforms(chosen) if config.relevance == ONLINE else None
            heard = self.teacher.hear([self.segments[i] for i in chosen], waveforms)
        attribution = self._relevance_of(batch, heard, chosen)
        if config.kind == "add":
            assert attribution is not None
            batch.integrated = overlaid(batch.features, attribution, config.beta)
        elif config.kind == "tf":
            assert attribution is not None
            batch.gate = map_gate(attribution, self.rho)
        elif config.kind == "id":
            batch.integrated = batch.features
        elif config.kind == "energy":
            batch.gate = soft_gate(self._energy(batch.features), self.rho)
        else:
            assert batch.relevance is not None
            batch.gate = time_gate(config, batch.relevance, self.rho)
        if config.target == "clean" or config.kind == "id":
            batch.teacher_logits_gated = batch.teacher_logits
        else:
            assert heard is not None
            batch.teacher_logits_gated = scale * self._answer(heard, batch.gate, attribution)

    def _relevance_of(self, batch: DistillationBatch, heard: Heard | None, chosen: Indices) -> Tensor | None:
        """Set the batch's relevance; returns the map, where it was computed now."""
        if self.config.relevance == ONLINE:
            assert self.teacher is not None and heard is not None
            attribution = self.teacher.attribution(heard).cpu()
            batch.relevance = self.teacher.relevance(attribution)
            return attribution
        assert self._relevance is not None
        batch.relevance = self._relevance_of_segments(self._relevance, chosen)
        return None

    def _energy(self, features: Tensor) -> Tensor:
        """In [0, 1], brought there as relevance is."""
        return frame_relevance(frame_energy(features), replace(self.settings, sign="signed"))

    def _answer(self, heard: Heard, gate: Tensor | None, attribution: Tensor | None) -> Tensor:
        assert self.teacher is not None
        if gate is not None:
            return self.teacher.cosines_gated(heard, gate)
        assert attribution is not None
        features = overlaid(heard.features, attribution.to(heard.features.device), self.config.beta)
        return self.teacher.cosines(replace(heard, features=features))


def check_relevance_name(name: str) -> None:
    """UserError when ``gate.relevance`` is no name of a relevance."""
    if name not in (SEGMENT, ONLINE, FUSED, "full") and not name.isdecimal():
        raise UserError(
            f"gate.relevance {name!r}: expected {SEGMENT}, {ONLINE}, {FUSED}, full, or the frames of a duration (200)"
        )
