"""What the teacher says of a segment: frame relevance, embedding, cosines to the classes, plain and gated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.integrated_gradients import Explanation, explain, mean_frame_baseline
from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import FloatArray
from imlkd.models.speaker_model import SpeakerModel

KINDS = ("relevance", "embedding", "cosines", "cosines_gated", "top_classes", "top_cosines")


@dataclass
class Target:
    """The teacher's answer to one segment.

    :param arrays: by kind, see ``KINDS``.
    :param error: relative completeness error of the map behind the relevance, and its ``nodes``.
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
    labels: dict[str, str]
    speech: SpeechReader
    config: RelevanceConfig

    def __post_init__(self) -> None:
        head = self.model.head
        if head is None:
            raise UserError("the teacher has no speaker head: run stage 2 again")
        rows = {speaker: row for row, speaker in enumerate(head.speakers)}
        lacking = [speaker for speaker in self.classes if speaker not in rows]
        if lacking:
            raise UserError(
                f"the teacher's head lacks {len(lacking)} training speakers (first: {' '.join(lacking[:5])}):"
                " train the teacher on data that holds them, or fit its head again (stage 2)"
            )
        self._columns = torch.tensor([rows[speaker] for speaker in self.classes])
        self._row_of = rows

    def targets(self, segments: list[Segment]) -> Iterator[Target]:
        """Targets of all segments, explained in batches of one duration."""
        ordered = sorted(segments, key=lambda s: (s.frames, s.id.encode()))
        for frames, same in groupby(ordered, key=lambda s: s.frames):
            group = list(same)
            for first in range(0, len(group), self.config.batch):
                yield from self._batch(group[first : first + self.config.batch], frames)

    def features(self, waveforms: list[Tensor]) -> Tensor:
        """(B, T, F) of the teacher's front-end; waveforms (samples,) of one length."""
        return torch.stack([self.model.frontend(waveform) for waveform in waveforms])

    def explain(self, features: Tensor, segments: list[Segment], frames: int) -> Explanation:
        """The map of the cosine to each utterance's own speaker; ``frames`` of ``features`` are heard."""
        labels = torch.tensor([self._row_of[self.labels[segment.utterance]] for segment in segments])
        return explain(self.model, features, labels, frames, self.config, [segment.id for segment in segments])

    @torch.no_grad()
    def answer(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) and cosines to the student's classes (B, C)."""
        output = self.model(features, torch.full((len(features),), features.shape[1]))
        assert output.cosines is not None
        return output.embedding, output.cosines[:, self._columns]

    def _batch(self, segments: list[Segment], frames: int) -> Iterator[Target]:
        features = self.features([self.speech.segment(segment) for segment in segments])
        explanation = self.explain(features, segments, frames)
        relevance = frame_relevance(explanation.attribution[:, :frames], self.config)
        embedding, cosines = self.answer(features)
        gate = self.config.rho + (1.0 - self.config.rho) * relevance
        gated = self.answer(gated_frames(features, gate, frames))[1]
        top = cosines.topk(min(self.config.top_k, len(self.classes)), dim=1)
        kinds = (relevance, embedding, cosines, gated, top.indices, top.values)
        for i, segment in enumerate(segments):
            arrays = {kind: values[i].float().numpy() for kind, values in zip(KINDS, kinds, strict=True)}
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise UserError(f"{segment.id}: the teacher's output holds NaN or infinite values")
            yield Target(segment, arrays, float(explanation.error[i]), self.config.nodes)


def gated_frames(features: Tensor, gate: Tensor, frames: int) -> Tensor:
    """x~ of the teacher's own features by a gate (B, frames); a front-end's padding behind them is left alone."""
    whole = torch.ones(features.shape[:2])
    whole[:, :frames] = gate
    return torch.lerp(mean_frame_baseline(features, frames), features, whole[:, :, None])
