"""The one interface of every network, teacher or student: features in, speaker embedding out.

A model carries its own front-end, so that a teacher with 40-band power mel and a student with 80-band log mel sit in
one run. Feature frames are 10 ms apart, and frame t lies around sample ``t * sample_rate / 100``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.features.speech import SpeechReader


@dataclass
class SpeakerOutput:
    """What a network says of a batch.

    :param stages: feature maps after each stage, (B, channels, frames) each.
    :param pooled: (B, P) statistics over time.
    :param embedding: (B, D), of any length.
    :param cosines: (B, C) margin-free cosines to the classes of the model's head; None without a head.
    """

    stages: list[Tensor]
    pooled: Tensor
    embedding: Tensor
    cosines: Tensor | None

    def to(self, device: torch.device, non_blocking: bool = False) -> SpeakerOutput:
        """The same on a device."""
        stages = [stage.to(device, non_blocking=non_blocking) for stage in self.stages]
        pooled, embedding = (one.to(device, non_blocking=non_blocking) for one in (self.pooled, self.embedding))
        cosines = None if self.cosines is None else self.cosines.to(device, non_blocking=non_blocking)
        return SpeakerOutput(stages, pooled, embedding, cosines)


class FrontEnd(Protocol):
    """Waveform to feature frames."""

    @property
    def sample_rate(self) -> int:
        """Samples a second that the front-end expects."""

    @property
    def dim(self) -> int:
        """Values a frame."""

    def __call__(self, waveform: Tensor) -> Tensor:
        """(samples,) float32 in [-1, 1) -> (T, dim) float32, 10 ms a frame."""


class CosineHead(nn.Module):
    """Class weights on the unit sphere; ``speakers`` names the classes in order.

    :param sub_centres: weights of a class, the nearest of which counts (Deng et al., ECCV 2020, Sub-center ArcFace).
    """

    def __init__(self, embedding_dim: int, speakers: list[str], sub_centres: int = 1) -> None:
        super().__init__()
        self.speakers, self.sub_centres = speakers, sub_centres
        self.weight = nn.Parameter(torch.empty(len(speakers) * sub_centres, embedding_dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embedding: Tensor, classes: Tensor | None = None) -> Tensor:
        """(B, D) -> (B, C) cosines, or (B, K) to the K ``classes`` alone."""
        weight: Tensor = self.weight
        if classes is not None:
            weight = weight.view(len(self.speakers), -1)[classes].view(-1, weight.shape[1])
        cosines = functional.linear(functional.normalize(embedding), functional.normalize(weight))
        if self.sub_centres == 1:
            return cosines
        return cosines.view(len(cosines), -1, self.sub_centres).amax(2)


class SpeakerModel(nn.Module):
    """Base of all networks. Subclasses give ``encode``; the head is attached for training and for class targets."""

    frontend: FrontEnd
    sub_centres = 1  # of each class of a head that is attached
    min_frames = 1  # fewest frames that its layers can read
    architecture = ""  # in model.yaml, of what is no network of networks.py
    is_opaque = False  # not made of torch's layers: it gives no gradient, and nothing in it can be counted
    has_stages = True  # whether its feature maps can be had

    def __init__(self, frontend: FrontEnd, embedding_dim: int) -> None:
        super().__init__()
        self.frontend = frontend
        self.embedding_dim = embedding_dim
        self.head: CosineHead | None = None

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Everything but the head: (B, T, F) and the valid frames (B,) -> SpeakerOutput with cosines None."""
        raise NotImplementedError

    def forward(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Features (B, T, F) and the number of valid frames of each row (B,)."""
        output = self.encode(features, lengths)
        if self.head is not None:
            output.cosines = self.head(output.embedding)
        return output

    @torch.no_grad()
    def embed(self, waveform: Tensor) -> Tensor:
        """Unit-length embedding (D,) of one utterance, (samples,) float32 in [-1, 1)."""
        features = self.frontend(waveform).unsqueeze(0)
        output = self.encode(features, torch.tensor([features.shape[1]]))
        return functional.normalize(output.embedding)[0]

    def embed_utterance(self, name: str, speech: SpeechReader) -> Tensor:
        """Unit-length embedding (D,) of an utterance of a data directory."""
        return self.embed(speech.utterance(name))

    def settings(self) -> dict[str, Any]:
        """What ``model.yaml`` says beside the architecture."""
        return {}

    def keep(self, folder: Path) -> None:
        """Leave in a model folder what the settings refer to: nothing here."""


def mask_of(lengths: Tensor, frames: int) -> Tensor:
    """(B,) valid frames -> (B, frames) bool."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]
