"""CAM++: a small convolution front over time and frequency, then a densely connected TDNN with context-aware masks.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023, section 2 and table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.config import bounded, chosen
from imlkd.errors import UserError
from imlkd.features.frontends import FbankSettings
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import Valid, sample_statistics
from imlkd.models.resnet import BasicBlock
from imlkd.models.speaker_model import SpeakerOutput

SEGMENT = 100  # frames whose mean a mask sees beside the utterance's
DILATIONS = (1, 2, 2)  # of the three blocks


@dataclass(frozen=True)
class CampPlusConfig:
    """Shape of a CAM++; the defaults of the paper have 7.18 M parameters."""

    front: int = bounded(32, low=2, high=256, help="channels of the convolutions over time and frequency")
    width: int = bounded(128, low=4, high=2048, help="channels of the first frame layer")
    growth: int = bounded(32, low=4, high=512, help="channels that each dense layer adds")
    bottleneck: int = bounded(4, low=1, high=16, help="channels inside a dense layer, in units of growth")
    layers: list[int] = bounded([12, 24, 16], low=1, high=64, help="dense layers of the three blocks")
    embedding_dim: int = bounded(512, low=2, high=4096, help="values of an embedding")
    floor: float = bounded(1e-7, low=1e-12, high=1.0, help="added to the variances that are pooled")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")

    def check(self) -> None:
        """UserError where a value does not go with the network."""
        if len(self.layers) != len(DILATIONS):
            raise UserError(f"network.layers: {len(self.layers)} blocks: give {len(DILATIONS)} numbers of layers")


class Front(nn.Module):
    """Paper, 2.3: convolutions that take the bands down to an eighth and leave the frames as they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        strides = ((2, 1), (1, 1), (2, 1), (1, 1))
        self.blocks = nn.ModuleList(BasicBlock(channels, channels, stride) for stride in strides)
        self.last = nn.Sequential(nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        """(B, F, T) -> (B, channels x F / 8, T)."""
        mask = valid.mask[:, None]
        maps = torch.relu(self.first(frames[:, None])) * mask
        for block in self.blocks:
            maps = block(maps, valid)
        return (torch.relu(self.last(maps)) * mask).flatten(1, 2)


class MaskedConvolution(nn.Module):
    """Paper, 2.2: a convolution whose output is gated by the means of the utterance and of each 100 frames."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.local = nn.Conv1d(inputs, outputs, 3, dilation=dilation, padding=dilation, bias=False)
        self.down = nn.Conv1d(inputs, inputs // 2, 1)
        self.up = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        context = (frames * valid.mask).sum(2, keepdim=True) / valid.mask.sum(2, keepdim=True)
        context = context + segment_means(frames, valid.mask)
        gate = torch.sigmoid(self.up(torch.relu(self.down(context))))
        output: Tensor = self.local(frames) * gate
        return output


def segment_means(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid frames of each run of 100, at each of its frames: (B, C, T), (B, 1, T) -> (B, C, T)."""
    sums, counts = (functional.avg_pool1d(x, SEGMENT, SEGMENT, ceil_mode=True) for x in (frames * mask, mask))
    means = sums / counts.clamp(min=0.5 / SEGMENT)
    return means[:, :, torch.arange(frames.shape[2], device=frames.device) // SEGMENT]


class DenseLayer(nn.Module):
    """Batch norm and ReLU before each of two convolutions, the second one masked by its context."""

    def __init__(self, inputs: int, inner: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm1d(inputs)
        self.first = nn.Conv1d(inputs, inner, 1, bias=False)
        self.second_norm = nn.BatchNorm1d(inner)
        self.second = MaskedConvolution(inner, outputs, dilation)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        inner = self.first(torch.relu(self.first_norm(frames)))
        output: Tensor = self.second(torch.relu(self.second_norm(inner)) * valid.mask, valid)
        return output


class DenseBlock(nn.Module):
    """Layers that each see all before them; at the end half of the channels are left."""

    def __init__(self, inputs: int, layers: int, inner: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, inner, growth, dilation) for i in range(layers))
        channels = inputs + layers * growth
        self.outputs = channels // 2
        self.norm = nn.BatchNorm1d(channels)
        self.transit = nn.Conv1d(channels, self.outputs, 1, bias=False)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        for layer in self.layers:
            frames = torch.cat([frames, layer(frames, valid)], dim=1)
        output: Tensor = self.transit(torch.relu(self.norm(frames))) * valid.mask
        return output


class CampPlus(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages: front, 10 ms a frame; first layer and three blocks, 20 ms."""

    def __init__(self, config: CampPlusConfig, fbank: FbankSettings) -> None:
        config.check()
        super().__init__(config, fbank)
        self.config, self.floor = config, config.floor
        self.front = Front(config.front)
        bands = -(-fbank.num_mel_bins // 8)
        self.first = nn.Sequential(
            nn.Conv1d(config.front * bands, config.width, 5, 2, 2, bias=False), nn.BatchNorm1d(config.width)
        )
        self.blocks = nn.ModuleList()
        channels = config.width
        for layers, dilation in zip(config.layers, DILATIONS, strict=True):
            block = DenseBlock(channels, layers, config.bottleneck * config.growth, config.growth, dilation)
            self.blocks.append(block)
            channels = block.outputs
        self.norm = nn.BatchNorm1d(channels)
        self.segment = nn.Sequential(
            nn.Linear(2 * channels, config.embedding_dim, bias=False),
            nn.BatchNorm1d(config.embedding_dim, affine=False),
        )

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        stages = [self.front(frames, valid)]
        valid = valid.every(2)
        stages.append(torch.relu(self.first(stages[0])) * valid.mask)
        for block in self.blocks:
            stages.append(block(stages[-1], valid))
        pooled = sample_statistics(torch.relu(self.norm(stages[-1])), valid.mask, self.floor)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
