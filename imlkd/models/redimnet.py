"""ReDimNet: one map, read now as (channels, bands, time), now as (channels x bands, time), its volume never changed.

Yakovlev, Makarov, Balykin, Malov, Okhotnikov, Torgashov, "Reshape Dimensions Network for Speaker Recognition",
Interspeech 2024 (arXiv 2407.18223), section 2 and table 1. Strides, blocks and reductions of B0 are those of the
authors' released configuration, with 60 mel bands; other numbers of bands and channels are possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.config import bounded, chosen
from imlkd.errors import UserError
from imlkd.features.frontends import FbankSettings
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import AttentivePooling, Valid
from imlkd.models.speaker_model import SpeakerOutput

# Of each stage: stride over bands, blocks, how much wider the map is in them, how much narrower the context over time.
STAGES = ((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10))
KERNELS = (7, 19, 31, 59)  # frames, of the convolutions over time
HEADS = 4
FLOOR = 1e-6


@dataclass(frozen=True)
class RedimnetConfig:
    """Shape of a ReDimNet-B0; with 60 mel bands and 10 channels it is the published one."""

    channels: int = bounded(10, low=2, high=128, help="of the first map")
    attention: int = bounded(128, low=1, high=4096, help="channels inside the attentive pooling")
    embedding_dim: int = bounded(192, low=2, high=4096, help="values of an embedding")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the second axis, of (B, C, T) or (B, C, bands, T)."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


class MapBlock(nn.Module):
    """Residual block of two convolutions of 3 x 3, each of one channel, each followed by one over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = separable(channels)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = separable(channels)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor, valid: Valid) -> Tensor:
        mask = valid.mask[:, None]
        inner = self.first_norm(torch.relu(self.first(maps))) * mask
        return torch.relu(self.second_norm(self.second(inner)) + maps) * mask


def separable(channels: int) -> nn.Sequential:
    """3 x 3 of each channel, then 1 x 1."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.Conv2d(channels, channels, 1)
    )


class TimeBlock(nn.Module):
    """Depthwise convolution over time, batch norm, GELU, pointwise convolution, shortcut."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.context = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.BatchNorm1d(channels)
        self.channels = nn.Conv1d(channels, channels, 1)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        inner = functional.gelu(self.norm(self.context(frames)))
        output: Tensor = (frames + self.channels(inner)) * valid.mask
        return output


class SelfAttention(nn.Module):
    """Transformer encoder layer with the norms behind the shortcuts (Vaswani et al., NeurIPS 2017, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(channels, channels) for _ in range(4))
        self.norm = nn.LayerNorm(channels, eps=FLOOR)
        self.inner, self.outer = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.last_norm = nn.LayerNorm(channels, eps=FLOOR)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        rows = frames.transpose(1, 2)
        rows = self.norm(rows + self.attend(rows, valid))
        rows = self.last_norm(rows + self.outer(functional.gelu(self.inner(rows), approximate="tanh")))
        output: Tensor = rows.transpose(1, 2)
        return output

    def attend(self, rows: Tensor, valid: Valid) -> Tensor:
        """(B, T, C) -> (B, T, C); no frame attends to one behind its row's end."""
        query, key, value = (
            layer(rows).view(*rows.shape[:2], HEADS, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        weights = scores.masked_fill(valid.mask[:, None] == 0, float("-inf")).softmax(dim=3)
        answer: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return answer


class TimeContext(nn.Module):
    """Paper, figure 2: fewer channels, context over time, as many channels as before, shortcut."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(channels, inner, 1), ChannelNorm(inner, eps=FLOOR))
        self.blocks = nn.ModuleList(TimeBlock(inner, kernel) for kernel in KERNELS)
        self.attention = SelfAttention(inner)
        self.up = nn.Conv1d(inner, channels, 1)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        inner = self.down(frames) * valid.mask
        for block in self.blocks:
            inner = block(inner, valid)
        output: Tensor = (frames + self.up(self.attention(inner, valid))) * valid.mask
        return output


class WeightedSum(nn.Module):
    """Of all outputs so far, with weights of each channel that sum to 1."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(count, 1, channels, 1), requires_grad=count > 1)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        return (self.logits.softmax(dim=0) * torch.stack(outputs)).sum(0)


class Stage(nn.Module):
    """Bands folded into channels by the stride, blocks on the map, then on its frames.

    :param channels: of the map before the stride.
    :param volume: channels x bands.
    """

    def __init__(self, channels: int, volume: int, count: int, settings: tuple[int, int, int, int]) -> None:
        super().__init__()
        stride, blocks, widening, reduction = settings
        narrow, wide = stride * channels, stride * channels * widening
        self.bands = volume // channels
        self.inputs = WeightedSum(count, volume)
        self.fold = nn.Conv2d(channels, wide, (stride, 1), (stride, 1))
        self.blocks = nn.ModuleList(MapBlock(wide) for _ in range(blocks))
        self.squeeze = nn.Sequential()
        if widening > 1:
            self.squeeze = nn.Sequential(
                nn.Conv2d(wide, narrow, 3, padding=1, groups=narrow),
                nn.BatchNorm2d(narrow, eps=FLOOR),
                nn.GELU(),
                nn.Conv2d(narrow, narrow, 1),
            )
        self.context = TimeContext(volume, max(1, volume // reduction // HEADS) * HEADS)

    def forward(self, outputs: list[Tensor], valid: Valid) -> Tensor:
        mask = valid.mask[:, None]
        maps = self.fold(as_map(self.inputs(outputs), self.bands)) * mask
        for block in self.blocks:
            maps = block(maps, valid)
        output: Tensor = self.context(as_frames(self.squeeze(maps) * mask), valid)
        return output


def as_frames(maps: Tensor) -> Tensor:
    """(B, C, bands, T) -> (B, bands x C, T)."""
    return maps.transpose(1, 2).flatten(1, 2)


def as_map(frames: Tensor, bands: int) -> Tensor:
    """The inverse of :func:`as_frames`."""
    rows, _, time = frames.shape
    return frames.reshape(rows, bands, -1, time).transpose(1, 2)


class Redimnet(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages, 10 ms a frame: first layer, five stages."""

    def __init__(self, config: RedimnetConfig, fbank: FbankSettings) -> None:
        super().__init__(config, fbank)
        self.config = config
        folded = math.prod(stride for stride, *_ in STAGES)
        if fbank.num_mel_bins % folded:
            raise UserError(f"fbank.num_mel_bins: {fbank.num_mel_bins} is no multiple of {folded}, as ReDimNet needs")
        channels, volume = config.channels, config.channels * fbank.num_mel_bins
        self.first = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels, eps=FLOOR))
        self.stages = nn.ModuleList()
        for i, settings in enumerate(STAGES):
            self.stages.append(Stage(channels, volume, 1 + i, settings))
            channels *= settings[0]
        self.inputs = WeightedSum(1 + len(STAGES), volume)
        self.pooling = AttentivePooling(volume, config.attention, context=True, rectified=False)
        self.segment = nn.Sequential(nn.BatchNorm1d(2 * volume), nn.Linear(2 * volume, config.embedding_dim))

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        stages = [as_frames(self.first(frames[:, None]) * valid.mask[:, None])]
        for stage in self.stages:
            stages.append(stage(stages, valid))
        pooled = self.pooling(self.inputs(stages), valid)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
