"""The x-vector network: five frame layers, statistics pooling, one or two segment layers.

Snyder, Garcia-Romero, Sell, Povey, Khudanpur, "X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018,
table 1 (contexts), here with convolution, ReLU, batch norm in this order, as all common toolkits have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded, chosen
from imlkd.errors import UserError
from imlkd.features.frontends import FbankSettings
from imlkd.models.fbank_model import FbankModel
from imlkd.models.layers import PADDINGS, FrameLayer, sample_statistics
from imlkd.models.speaker_model import SpeakerOutput

KERNELS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))  # frames and dilation of each layer
CONTEXT = 1 + sum((kernel - 1) * dilation for kernel, dilation in KERNELS)  # frames that one output sees


@dataclass(frozen=True)
class XvectorConfig:
    """Shape of an x-vector network."""

    width: int = bounded(256, low=4, high=4096, help="channels of the first four layers")
    wide: int = bounded(768, low=4, high=16384, help="channels of the fifth, which is pooled")
    segment_layers: int = bounded(1, low=1, high=2, help="layers after the pooling; the last gives the embedding")
    embedding_dim: int = bounded(256, low=2, high=4096, help="values of an embedding")
    slope: float = bounded(0.0, low=0.0, high=0.99, help="of the ReLU below zero")
    floor: float = bounded(1e-7, low=1e-12, high=1.0, help="added to the variances that are pooled")
    padding: str = chosen("zeros", PADDINGS, help="frames before the first and behind the last one")
    normalize: str = chosen("level", ("level", "mean", "none"), help="what is taken from the log-mel frames")


class Xvector(FbankModel):
    """Log mel (B, T, F) -> embedding (B, D). Stages, 10 ms a frame: the five frame layers."""

    def __init__(self, config: XvectorConfig, fbank: FbankSettings) -> None:
        super().__init__(config, fbank)
        self.config, self.floor = config, config.floor
        self.min_frames = CONTEXT if config.padding == "none" else 1
        widths = [fbank.num_mel_bins, *[config.width] * 4, config.wide]
        self.layers = nn.ModuleList(
            FrameLayer(inputs, outputs, kernel, dilation, config.padding, config.slope)
            for inputs, outputs, (kernel, dilation) in zip(widths, widths[1:], KERNELS, strict=False)
        )
        self.segment = nn.Linear(2 * config.wide, config.embedding_dim)
        self.second = nn.Sequential()
        if config.segment_layers == 2:
            dim = config.embedding_dim
            self.second = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(dim, affine=False), nn.Linear(dim, dim))

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """As of every model.

        :raises UserError: without padding, for rows that the layers leave nothing of.
        """
        exporting = torch.compiler.is_exporting()  # an exported graph is not asked
        if self.config.padding == "none" and not exporting and int(lengths.min()) < CONTEXT:
            raise UserError(f"{int(lengths.min())} frames of speech: this x-vector network needs {CONTEXT} or more")
        frames, valid = self.normalized(features, lengths)
        stages: list[Tensor] = []
        for layer in self.layers:
            assert isinstance(layer, FrameLayer)
            frames = layer(frames, valid)
            valid = layer.after(valid)
            stages.append(frames)
        pooled = sample_statistics(frames, valid.mask, self.floor)
        return SpeakerOutput(stages, pooled, self.second(self.segment(pooled)), None)
