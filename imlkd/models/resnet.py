"""ResNet of basic blocks over time and frequency, of any width, 10 to 34 layers.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1 and figure 5 (left); first layer
of 3 x 3 without stride and without maximum pooling, and the width, as is usual for speakers (Zeinali et al.,
arXiv 1910.12592, table 2). Mean and deviation over time of each channel and band are pooled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded, chosen
from imlkd.features.frontends import FbankSettings
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import Valid, sample_statistics
from imlkd.models.speaker_model import SpeakerOutput

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


@dataclass(frozen=True)
class ResnetConfig:
    """Shape of a ResNet."""

    width: int = bounded(16, low=2, high=256, help="channels of the first stage, doubled at each further one")
    depth: int = chosen(18, tuple(BLOCKS), help="layers with weights")
    embedding_dim: int = bounded(256, low=2, high=4096, help="values of an embedding")
    floor: float = bounded(1e-7, low=1e-12, high=1.0, help="added to the variances that are pooled")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut, which is a convolution of 1 x 1 where the shape changes.

    :param stride: over bands and over frames.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != (1, 1) or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor, valid: Valid) -> Tensor:
        """(B, inputs, bands, T) -> (B, outputs, bands / stride, T / stride), zero behind each row's end.

        :param valid: of the output.
        """
        mask = valid.mask[:, None]
        inner = torch.relu(self.first_norm(self.first(maps))) * mask
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(maps)) * mask


class Resnet(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages: four of (B, channels x bands, T), 10, 20, 40 and 80 ms a frame."""

    def __init__(self, config: ResnetConfig, fbank: FbankSettings) -> None:
        super().__init__(config, fbank)
        self.config, self.floor = config, config.floor
        self.first = nn.Sequential(nn.Conv2d(1, config.width, 3, 1, 1, bias=False), nn.BatchNorm2d(config.width))
        self.stages = nn.ModuleList()
        inputs = config.width
        for i, count in enumerate(BLOCKS[config.depth]):
            stage = nn.ModuleList()
            for k in range(count):
                stride = 2 if i and not k else 1
                stage.append(BasicBlock(inputs, config.width << i, (stride, stride)))
                inputs = config.width << i
            self.stages.append(stage)
        self.segment = nn.Linear(2 * inputs * -(-fbank.num_mel_bins // 8), config.embedding_dim)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.normalized(features, lengths)
        maps = torch.relu(self.first(frames[:, None])) * valid.mask[:, None]
        stages: list[Tensor] = []
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                assert isinstance(block, BasicBlock)
                valid = valid.every(block.stride[1])
                maps = block(maps, valid)
            stages.append(maps.flatten(1, 2))
        pooled = sample_statistics(stages[-1], valid.mask, self.floor)
        return SpeakerOutput(stages, pooled, self.segment(pooled), None)
