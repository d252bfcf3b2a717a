"""NeXt-TDNN: ConvNeXt blocks over time in two steps, long kernels for the context, then channels.

Heo, Shin, Kim, Oh, Kim, "NeXt-TDNN: Modernizing Multi-Scale Temporal Convolution Backbone for Speaker Verification",
ICASSP 2024 (arXiv 2312.08603), sections 2.1 to 2.3; the light block has one kernel and no pointwise layers around it.
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
from imlkd.models.layers import Valid, weighted_statistics
from imlkd.models.speaker_model import SpeakerOutput

STAGES = 3
SPREAD = 0.02  # standard deviation of initial weights
FLOOR = 1e-6


@dataclass(frozen=True)
class NextTdnnConfig:
    """Shape of a NeXt-TDNN; one kernel makes the light one."""

    channels: int = bounded(128, low=8, high=2048, help="of every block")
    blocks: int = bounded(3, low=1, high=16, help="of each of the three stages")
    kernels: list[int] = bounded([7, 65], low=1, high=255, help="frames, odd; the channels are shared among them")
    embedding_dim: int = bounded(192, low=2, high=4096, help="values of an embedding")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")

    def check(self) -> None:
        """UserError where two values do not go together."""
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"network.kernels: {self.kernels}: give odd numbers of frames")
        if self.channels % (8 * len(self.kernels)):
            raise UserError(f"network.channels: {self.channels} is no multiple of {8 * len(self.kernels)}")


class FrameNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, T), frame by frame."""

    def forward(self, frames: Tensor) -> Tensor:
        return super().forward(frames.transpose(1, 2)).transpose(1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation over the valid frames (Woo et al., ConvNeXt V2, CVPR 2023, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        norm = (frames * valid.mask).square().sum(2, keepdim=True).clamp(min=FLOOR**2).sqrt()
        share = norm / (norm.mean(1, keepdim=True) + FLOOR)
        return self.gain * (frames * share) + self.bias + frames


class TwoStepBlock(nn.Module):
    """Paper, 2.2: context of each channel by long kernels, then the channels of each frame, both with a shortcut."""

    def __init__(self, channels: int, kernels: list[int]) -> None:
        super().__init__()
        part = channels // len(kernels)
        light = len(kernels) == 1
        self.before = nn.Identity() if light else nn.Conv1d(channels, channels, 1)
        self.context = nn.ModuleList(
            nn.Conv1d(part, part, kernel, padding=kernel // 2, groups=part) for kernel in kernels
        )
        self.after = nn.Identity() if light else nn.Sequential(nn.GELU(), nn.Conv1d(channels, channels, 1))
        self.norm = FrameNorm(channels, eps=FLOOR)
        self.up = nn.Conv1d(channels, 4 * channels, 1)
        self.response = ResponseNorm(4 * channels)
        self.down = nn.Conv1d(4 * channels, channels, 1)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        parts = (self.before(frames) * valid.mask).chunk(len(self.context), dim=1)
        inner = torch.cat([convolution(part) for convolution, part in zip(self.context, parts, strict=True)], dim=1)
        frames = frames + self.after(inner)
        inner = self.response(functional.gelu(self.up(self.norm(frames))), valid)
        output: Tensor = (frames + self.down(inner)) * valid.mask
        return output


class NextTdnn(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages, 10 ms a frame: first layer, three stages, aggregation."""

    def __init__(self, config: NextTdnnConfig, fbank: FbankSettings) -> None:
        config.check()
        super().__init__(config, fbank)
        self.config = config
        width, wide = config.channels, STAGES * config.channels
        self.first = nn.Conv1d(fbank.num_mel_bins, width, 4)
        self.first_norm = FrameNorm(width, eps=FLOOR)
        self.stages = nn.ModuleList(
            nn.ModuleList(TwoStepBlock(width, config.kernels) for _ in range(config.blocks)) for _ in range(STAGES)
        )
        self.aggregation = nn.Sequential(nn.Conv1d(wide, wide, 1), FrameNorm(wide, eps=FLOOR))
        self.attention = nn.Sequential(
            nn.Conv1d(wide, wide // 8, 1), nn.BatchNorm1d(wide // 8), nn.Tanh(), nn.Conv1d(wide // 8, wide, 1)
        )
        self.segment = nn.Sequential(
            nn.BatchNorm1d(2 * wide), nn.Linear(2 * wide, config.embedding_dim), nn.BatchNorm1d(config.embedding_dim)
        )
        for module in [self.first, *self.stages.modules()]:
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=SPREAD)
                nn.init.zeros_(module.bias)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        frames = self.first_norm(self.first(functional.pad(frames, (1, 2)))) * valid.mask
        stages = [frames]
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                frames = block(frames, valid)
            stages.append(frames)
        stages.append(self.aggregation(torch.cat(stages[1:], dim=1)) * valid.mask)
        scores = self.attention(stages[-1]).masked_fill(valid.mask == 0, float("-inf"))
        pooled = torch.cat(weighted_statistics(stages[-1], scores.softmax(dim=2)), dim=1)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
