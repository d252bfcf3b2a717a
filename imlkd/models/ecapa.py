"""ECAPA-TDNN of any width.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based
Speaker Verification", Interspeech 2020, sections 3.1 to 3.3 and figure 2. Order of the layers (convolution, ReLU, batch
norm) and what the paper leaves open, such as the batch norm in the attention, are those of SpeechBrain's network, which
this one equals to 1e-5 with ``padding: reflect``; it pads with mirrored frames, most others with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded, chosen, switch
from imlkd.errors import UserError
from imlkd.features.frontends import FbankSettings
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import AttentivePooling, FrameLayer, Valid
from imlkd.models.speaker_model import SpeakerOutput

DILATIONS = (2, 3, 4)  # of the three SE-Res2 blocks


@dataclass(frozen=True)
class EcapaConfig:
    """Shape of an ECAPA-TDNN."""

    channels: int = bounded(128, low=8, high=4096, help="of every frame layer, a multiple of scale")
    aggregated: int | None = bounded(None, low=8, high=16384, help="channels after aggregation; none: 3 x channels")
    scale: int = bounded(8, low=2, high=64, help="parts that a Res2 layer splits its channels into")
    squeeze: int = bounded(128, low=1, high=4096, help="channels inside squeeze-excitation")
    attention: int = bounded(128, low=1, high=4096, help="channels inside the attentive pooling")
    context: bool = switch(True, help="the pooling's attention sees the utterance's mean and deviation")
    rectified: bool = switch(True, help="ReLU and batch norm before the attention's tanh")
    embedding_dim: int = bounded(192, low=2, high=4096, help="values of an embedding")
    padding: str = chosen("zeros", ("zeros", "reflect"), help="frames before the first and behind the last one")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")

    def check(self) -> None:
        """UserError where two values do not go together."""
        if self.channels % self.scale:
            raise UserError(f"network.channels: {self.channels} is no multiple of network.scale, {self.scale}")


class Res2Layer(nn.Module):
    """The first part of the channels as it is; each further one convolved after the part before was added to it."""

    def __init__(self, channels: int, scale: int, dilation: int, padding: str) -> None:
        super().__init__()
        width = channels // scale
        self.scale = scale
        self.layers = nn.ModuleList(FrameLayer(width, width, 3, dilation, padding) for _ in range(scale - 1))

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        first, *parts = frames.chunk(self.scale, dim=1)
        outputs = [first]
        for i, (part, layer) in enumerate(zip(parts, self.layers, strict=True)):
            outputs.append(layer(part + outputs[-1] if i else part, valid))
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """A gain for each channel from the mean over the valid frames (Hu et al., CVPR 2018, section 3)."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, squeeze)
        self.up = nn.Linear(squeeze, channels)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        mean = (frames * valid.mask).sum(2) / valid.mask.sum(2)
        return frames * torch.sigmoid(self.up(torch.relu(self.down(mean))))[:, :, None]


class SeRes2Block(nn.Module):
    """Paper, figure 2: pointwise layer, Res2 layer, pointwise layer, squeeze-excitation, shortcut."""

    def __init__(self, config: EcapaConfig, dilation: int) -> None:
        super().__init__()
        width, padding = config.channels, config.padding
        self.first = FrameLayer(width, width, 1, 1, padding)
        self.res2 = Res2Layer(width, config.scale, dilation, padding)
        self.last = FrameLayer(width, width, 1, 1, padding)
        self.excitation = SqueezeExcitation(width, config.squeeze)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        inner = self.last(self.res2(self.first(frames, valid), valid), valid)
        output: Tensor = frames + self.excitation(inner, valid)
        return output


class Ecapa(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages, 10 ms a frame: first layer, three blocks, aggregation."""

    min_frames = 2 * DILATIONS[-1] + 1  # the widest kernel's reach

    def __init__(self, config: EcapaConfig, fbank: FbankSettings) -> None:
        config.check()
        super().__init__(config, fbank)
        self.config = config
        width, wide = config.channels, config.aggregated or 3 * config.channels
        self.first = FrameLayer(fbank.num_mel_bins, width, 5, 1, config.padding)
        self.blocks = nn.ModuleList(SeRes2Block(config, dilation) for dilation in DILATIONS)
        self.aggregation = FrameLayer(len(DILATIONS) * width, wide, 1, 1, config.padding)
        self.pooling = AttentivePooling(wide, config.attention, config.context, config.rectified)
        self.norm = nn.BatchNorm1d(2 * wide)
        self.segment = nn.Linear(2 * wide, config.embedding_dim)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        stages = [self.first(frames, valid)]
        for block in self.blocks:
            stages.append(block(stages[-1], valid))
        stages.append(self.aggregation(torch.cat(stages[1:], dim=1), valid))
        pooled = self.pooling(stages[-1], valid)
        return SpeakerOutput(stages, pooled, self.segment(self.norm(pooled)), None)
