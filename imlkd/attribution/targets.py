"""What the teacher says of a segment: frame relevance, embedding, cosines to the classes, plain and gated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.baselines import baseline_of, usual_baseline
from imlkd.attribution.integrated_gradients import Attribution, IntegratedGradients, Utterance
from imlkd.attribution.occlusion import Occlusion
from imlkd.attribution.quantities import quantity_of
from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.corpora.disk_table import DiskTable
from imlkd.corpora.selection import spread
from imlkd.corpora.utterance_classes import class_table, utterance_classes
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.features.speech import PartReader, SpeechReader
from imlkd.features.wave_frames import gain_of_samples, waveform_parts
from imlkd.kaldi_io import FloatArray, sort_ids
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import load_model

AVERAGED = 100  # utterances, spread evenly over the data, that the baseline `average` reads; the same in every job
TOGETHER = 16  # segments, or as many as a batch has gradients, whose maps are in memory together
KINDS = ("relevance", "embedding", "cosines", "cosines_gated", "top_classes", "top_cosines")


@dataclass
class Target:
    """The teacher's answer to one segment.

    :param arrays: by kind, see ``KINDS``.
    :param error: relative completeness error of the map behind the relevance, and the ``nodes`` that it took.
    """

    segment: Segment
    arrays: dict[str, FloatArray]
    error: float
    nodes: int


@dataclass
class Explainer:
    """A teacher, the classes its students have, and where to hear the segments.

    :param classes: the student's speakers in order; all must be in the teacher's head.
    :param labels: speaker of each utterance.
    """

    model: SpeakerModel
    classes: list[str]
    labels: Mapping[str, str]
    speech: SpeechReader | PartReader
    config: RelevanceConfig

    def __post_init__(self) -> None:
        head = self.model.head
        if head is None:
            raise UserError("the teacher has no speaker head: run stage 2 again")
        self.device = head.weight.device
        self._columns = torch.tensor(columns_of(head, self.classes), device=self.device)
        self.baseline = usual_baseline(self.model.frontend)  # of gated frames
        some = (self.model.frontend(self.speech.utterance(name)) for name in spread(self.speech.names, AVERAGED))
        origin = baseline_of(self.config.baseline, self.model, some)  # of maps
        quantity = quantity_of(self.config.quantity, self.config.temperature)
        self.engine: IntegratedGradients | Occlusion
        if self.model.is_opaque:
            self.engine = Occlusion(self.model, self.config.occlusion, origin, self.config.batch, quantity)
        else:
            self.engine = IntegratedGradients(self.model, self.config.integration(), quantity, origin)

    def targets(self, segments: list[Segment]) -> Iterator[Target]:
        """Targets of all segments, the short ones first."""
        ordered = sorted(segments, key=lambda s: (s.frames, s.id.encode()))
        together = max(TOGETHER, self.config.batch)
        for first in range(0, len(ordered), together):
            batch = ordered[first : first + together]
            features = [self.model.frontend(self.speech.segment(segment)).to(self.device) for segment in batch]
            found = self.explain(batch, features)
            for frames, same in groupby(range(len(batch)), key=lambda i: batch[i].frames):
                rows = list(same)
                stacked = torch.stack([features[i] for i in rows])
                yield from self._answers([batch[i] for i in rows], [found[i] for i in rows], stacked, frames)

    def explain(self, segments: list[Segment], features: list[Tensor]) -> list[Attribution]:
        """The map of each segment's own speaker; features (T, F) of any lengths."""
        return list(
            self.engine.explain(
                Utterance(segment.id, row, self.labels[segment.utterance], segment.frames)
                for segment, row in zip(segments, features, strict=True)
            )
        )

    @torch.no_grad()
    def answer(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) and cosines to the student's classes (B, C)."""
        output = self.model(features, torch.full((len(features),), features.shape[1], device=features.device))
        assert output.cosines is not None
        return output.embedding, output.cosines[:, self._columns]

    def gated_frames(self, features: Tensor, gate: Tensor, frames: int) -> Tensor:
        """x~ of the teacher's own features by a gate (B, frames) or (B, frames, F); padding behind them is left alone.

        Of samples the gate is a gain.
        """
        whole = torch.ones_like(features)
        whole[:, :frames] = gate if gate.ndim == 3 else gate[:, :, None]
        for part in waveform_parts(self.model.frontend) if gate.ndim == 2 else ():
            whole[:, :frames, part] = gain_of_samples(gate, part.stop - part.start)
        baselines = torch.stack([self.baseline(row, frames) for row in features])
        return torch.lerp(baselines, features, whole)

    def _answers(
        self, segments: list[Segment], found: list[Attribution], features: Tensor, frames: int
    ) -> Iterator[Target]:
        relevance = frame_relevance(torch.stack([one.map[:frames] for one in found]).float(), self.config)
        embedding, cosines = self.answer(features)
        gate = self.config.rho + (1.0 - self.config.rho) * relevance
        gated = self.answer(self.gated_frames(features, gate, frames))[1]
        top = cosines.topk(min(self.config.top_k, len(self.classes)), dim=1)
        kinds = (relevance, embedding, cosines, gated, top.indices, top.values)
        for i, segment in enumerate(segments):
            arrays = {kind: values[i].float().cpu().numpy() for kind, values in zip(KINDS, kinds, strict=True)}
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise UserError(f"{segment.id}: the teacher's output holds NaN or infinite values")
            yield Target(segment, arrays, found[i].error, found[i].gradients)


CPU = torch.device("cpu")


def columns_of(head: CosineHead, classes: list[str]) -> list[int]:
    """The head's rows for ``classes``, in their order.

    :raises UserError: when it lacks one.
    """
    rows = {speaker: row for row, speaker in enumerate(head.speakers)}
    lacking = [speaker for speaker in classes if speaker not in rows]
    if lacking:
        raise UserError(
            f"the teacher's head lacks {len(lacking)} training speakers (first: {' '.join(lacking[:5])}):"
            " train the teacher on data that holds them, or fit its head again (stage 2)"
        )
    return [rows[speaker] for speaker in classes]


def classes_of(data_dir: Path, teacher: Path | None = None) -> list[str]:
    """The speakers of a data directory, or the classes that the teacher in a folder has instead, in C order."""
    return sort_ids({label for _, label in DiskTable(class_table(data_dir, teacher)).lines()})


def device_of(job: int) -> torch.device:
    """Jobs, from 1 on, take turns on the GPUs; without one all work on the CPU."""
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return torch.device("cuda", (job - 1) % devices) if devices else torch.device("cpu")


def explainer_of(
    teacher: Path, data_dir: Path, config: RelevanceConfig, allow_pipes: bool = False, device: torch.device = CPU
) -> Explainer:
    """The teacher in a model folder, on the audio and speakers of a data directory, and on a device."""
    model = load_model(teacher).to(device)
    labels = utterance_classes(data_dir, teacher)
    speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
    return Explainer(model, sort_ids(set(labels.values())), labels, speech, config)


def explainer_beside(
    teacher: Path, data_dir: Path, config: RelevanceConfig, allow_pipes: bool = False, device: torch.device = CPU
) -> Explainer:
    """The same for a training, which asks for segments anywhere: labels and tables of audio stay on the disk."""
    model = load_model(teacher).to(device)
    labels = DiskTable(class_table(data_dir, teacher))
    speech = PartReader(data_dir, model.frontend.sample_rate, allow_pipes)
    return Explainer(model, classes_of(data_dir, teacher), labels, speech, config)
