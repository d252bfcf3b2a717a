"""The teacher in the training loop: relevance of the very crop that the student hears, and answers to any gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imlkd.attribution.relevance import frame_relevance
from imlkd.attribution.targets import Explainer
from imlkd.features.segments import Segment


@dataclass(frozen=True)
class Heard:
    """Crops of one length as the teacher hears them.

    :param features: (B, T', F'), its own front-end's.
    :param frames: that hold the crop; a front-end's padding lies behind.
    """

    segments: list[Segment]
    features: Tensor
    frames: int


class OnlineTeacher:
    """A teacher that explains and answers crops without a cache."""

    def __init__(self, explainer: Explainer, nodes: int) -> None:
        """:param nodes: gradients of every map; there is no second try in a training step."""
        settings = replace(explainer.config, nodes=nodes, max_nodes=nodes)
        self.explainer = replace(explainer, config=settings)

    def hear(self, segments: Sequence[Segment], waveforms: Sequence[Tensor] | None = None) -> Heard:
        """Crops of one duration.

        :param waveforms: (samples,) each, the crops as they were augmented; None: clean from the disk.
        """
        speech = self.explainer.speech
        heard = [speech.segment(segment) for segment in segments] if waveforms is None else waveforms
        features = torch.stack([self.explainer.model.frontend(waveform) for waveform in heard])
        return Heard(list(segments), features.to(self.explainer.device), segments[0].frames)

    def attribution(self, heard: Heard) -> Tensor:
        """(B, T, F), or (B, T) for signed relevance: the map of the cosine to each crop's own speaker."""
        found = self.explainer.explain(heard.segments, list(heard.features))
        return torch.stack([one.map[: heard.frames] for one in found]).float()

    def relevance(self, attribution: Tensor) -> Tensor:
        """(B, T) in [0, 1]."""
        return frame_relevance(attribution, self.explainer.config)

    def cosines(self, heard: Heard) -> Tensor:
        """(B, C) to the student's classes."""
        return self.explainer.answer(heard.features)[1]

    def cosines_gated(self, heard: Heard, gate: Tensor) -> Tensor:
        """(B, C) of the integrated input by a gate (B, T)."""
        return self.explainer.answer(self.explainer.gated_frames(heard.features, gate, heard.frames))[1]
