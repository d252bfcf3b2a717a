"""ERes2Net: a Res2Net over time and frequency whose parts, and whose stages, are fused by attention.

Chen, Zheng, Wang, Cheng, Chen, Qi, "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification",
Interspeech 2023 (arXiv 2305.12838), section 2: local fusion between the parts of a block, in the last two stages, and
global fusion of each stage with those before it. ReLU inside is cut at 20, as in the authors' code.
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
from imlkd.models.speaker_model import SpeakerOutput

CEILING = 20.0
STAGES = 4


@dataclass(frozen=True)
class Eres2netConfig:
    """Shape of an ERes2Net; with 512 values an embedding it is the published base."""

    width: int = bounded(32, low=4, high=256, help="channels of the first layer; each stage doubles them")
    blocks: list[int] = bounded([3, 4, 6, 3], low=1, high=64, help="of the four stages")
    scale: int = bounded(2, low=1, high=16, help="parts that a block splits its channels into")
    part: int = bounded(32, low=1, high=256, help="channels of a part, in 64ths of the stage's")
    expansion: int = bounded(2, low=1, high=8, help="channels behind a block, in units of the stage's")
    embedding_dim: int = bounded(192, low=2, high=4096, help="values of an embedding")
    floor: float = bounded(1e-7, low=1e-12, high=1.0, help="added to the variances that are pooled")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")


def cut(maps: Tensor) -> Tensor:
    """ReLU, at most 20."""
    return functional.hardtanh(maps, 0.0, CEILING)


class Fusion(nn.Module):
    """Paper, equations 3 and 4: ``(1 + g) x + (1 - g) y`` with a gate g in (-1, 1) of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 4)
        self.down, self.down_norm = nn.Conv2d(2 * channels, inner, 1), nn.BatchNorm2d(inner)
        self.up, self.up_norm = nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, C, bands, T) both; zero where both are."""
        inner = functional.silu(self.down_norm(self.down(torch.cat([first, second], 1))))
        gate = torch.tanh(self.up_norm(self.up(inner)))
        return first * (1.0 + gate) + second * (1.0 - gate)


class Block(nn.Module):
    """1 x 1, parts of 3 x 3 each of which hears the one before, 1 x 1, shortcut.

    :param fused: whether a part takes the one before by attention, not by a sum.
    """

    def __init__(self, config: Eres2netConfig, inputs: int, channels: int, stride: int, fused: bool) -> None:
        super().__init__()
        self.stride, outputs = stride, channels * config.expansion
        self.part = channels * config.part // 64
        if not self.part:
            raise UserError(f"network.part: {config.part} of 64 of {channels} channels is none: raise part or width")
        self.first = nn.Conv2d(inputs, self.part * config.scale, 1, stride, bias=False)
        self.first_norm = nn.BatchNorm2d(self.part * config.scale)
        parts = range(config.scale)
        self.contexts = nn.ModuleList(nn.Conv2d(self.part, self.part, 3, 1, 1, bias=False) for _ in parts)
        self.norms = nn.ModuleList(nn.BatchNorm2d(self.part) for _ in parts)
        self.fusions = nn.ModuleList(Fusion(self.part) for _ in parts[1:]) if fused else None
        self.last = nn.Conv2d(self.part * config.scale, outputs, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor, valid: Valid) -> Tensor:
        """(B, inputs, bands, T) -> (B, outputs, bands / stride, T / stride), zero behind each row's end.

        :param valid: of the output.
        """
        mask = valid.mask[:, None]
        split = (cut(self.first_norm(self.first(maps))) * mask).chunk(len(self.norms), 1)
        heard: list[Tensor] = []
        for i, own in enumerate(split):
            if heard:
                own = self.fusions[i - 1](heard[-1], own) if self.fusions is not None else heard[-1] + own
            heard.append(cut(self.norms[i](self.contexts[i](own))) * mask)
        return cut(self.last_norm(self.last(torch.cat(heard, 1))) + self.shortcut(maps)) * mask


class Eres2net(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages: four fused maps (B, channels x bands, T), 10 to 80 ms a frame."""

    def __init__(self, config: Eres2netConfig, fbank: FbankSettings) -> None:
        super().__init__(config, fbank)
        if len(config.blocks) != STAGES:
            raise UserError(f"network.blocks: {config.blocks}: expected the numbers of {STAGES} stages")
        self.config, self.floor = config, config.floor
        self.first = nn.Sequential(nn.Conv2d(1, config.width, 3, 1, 1, bias=False), nn.BatchNorm2d(config.width))
        self.stages, self.downs, self.fusions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = config.width
        for i, count in enumerate(config.blocks):
            channels, stage = config.width << i, nn.ModuleList()
            for k in range(count):
                stage.append(Block(config, inputs, channels, 2 if i and not k else 1, fused=i >= 2))
                inputs = channels * config.expansion
            self.stages.append(stage)
            if i:
                self.downs.append(nn.Conv2d(inputs // 2, inputs, 3, 2, 1, bias=False))
                self.fusions.append(Fusion(inputs))
        self.segment = nn.Linear(2 * inputs * -(-fbank.num_mel_bins // 8), config.embedding_dim)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        maps = torch.relu(self.first(frames[:, None])) * valid.mask[:, None]
        fused: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                assert isinstance(block, Block)
                valid = valid.every(block.stride)
                maps = block(maps, valid)
            before = self.downs[i - 1](fused[-1]) * valid.mask[:, None] if fused else None
            fused.append(maps if before is None else self.fusions[i - 1](maps, before))
        stages = [one.flatten(1, 2) for one in fused]
        pooled = sample_statistics(stages[-1], valid.mask, self.floor)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
