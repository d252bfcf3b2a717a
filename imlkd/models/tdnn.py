"""A residual TDNN: strided convolution, residual blocks, mean and deviation over time.

The x-vector layout (Snyder et al., ICASSP 2018: frame layers, statistics pooling, segment layer) with residual blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor, nn

from imlkd.config import bounded, chosen
from imlkd.features.frontends import FbankSettings
from imlkd.models.adapters import Adapter
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import pooled_statistics
from imlkd.models.speaker_model import SpeakerOutput


@dataclass(frozen=True)
class TdnnConfig:
    """Shape of a residual TDNN."""

    width: int = bounded(48, low=4, high=4096, help="channels")
    blocks: int = bounded(3, low=1, high=32, help="residual blocks, dilated by 1, 2, 3 ...")
    embedding_dim: int = bounded(192, low=2, high=4096, help="values of an embedding")
    adapters: int = bounded(0, low=0, high=4096, help="channels over those in an adapter behind each block, 0: none")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")


class ResidualBlock(nn.Module):
    """Dilated convolution over time with a shortcut."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, frames: Tensor) -> Tensor:
        return torch.relu(frames + self.norm(self.convolution(frames)))


class Tdnn(FbankModel):
    """Log-mel (B, T, F) -> embedding (B, D); 20 ms a frame after the first layer."""

    def __init__(self, config: TdnnConfig, fbank: FbankSettings) -> None:
        super().__init__(config, fbank)
        self.config = config
        width = config.width
        self.min_frames = max(5, 4 * config.blocks + 1)  # the widest kernel's reach, at 20 ms a frame
        self.first = nn.Sequential(
            nn.Conv1d(fbank.num_mel_bins, width, 5, stride=2, padding=2, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, 1 + i) for i in range(config.blocks))
        inner = max(1, width // config.adapters) if config.adapters else 0
        self.adapters = nn.ModuleList(Adapter(width, inner) for _ in range(config.blocks) if inner)
        self.last = nn.Sequential(nn.Conv1d(width, 2 * width, 1, bias=False), nn.BatchNorm1d(2 * width), nn.ReLU())
        self.segment = nn.Sequential(
            nn.BatchNorm1d(4 * width), nn.Linear(4 * width, config.embedding_dim), nn.BatchNorm1d(config.embedding_dim)
        )

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        mask = valid.every(2).mask
        frames = self.first(frames) * mask
        stages = [frames]
        for block, adapter in zip_longest(self.blocks, self.adapters):
            frames = block(frames) * mask
            if adapter is not None:
                frames = adapter(frames) * mask
            stages.append(frames)
        frames = self.last(frames)
        pooled = pooled_statistics(frames, mask)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
