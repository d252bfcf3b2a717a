"""What the networks on mel bands share: a front-end, and the level or the mean frame taken from its output."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from imlkd.features.frontends import FbankSettings, build_frontend
from imlkd.models.layers import Normalization, Valid
from imlkd.models.speaker_model import SpeakerModel, mask_of


class NetworkConfig(Protocol):
    """What every configuration of a network has."""

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding."""

    @property
    def normalize(self) -> str:
        """``level``, ``mean`` or ``none``."""


class FbankModel(SpeakerModel):
    """A network on mel bands with settings ``config``."""

    config: Any  # of its own class in each network

    def __init__(self, config: NetworkConfig, fbank: FbankSettings) -> None:
        super().__init__(build_frontend(fbank), config.embedding_dim)
        self.fbank = fbank
        self.normalization = Normalization(config.normalize, fbank.num_mel_bins)

    def normalized(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Valid]:
        """(B, T, F), (B,) -> normalised (B, F, T), zero behind each row's end, and what is valid of it."""
        lengths = lengths.to(features.device)
        edge = getattr(self.frontend, "edge", 0)
        if edge:
            features, lengths = features[:, edge:-edge], lengths - 2 * edge
        mask = mask_of(lengths, features.shape[1])[:, :, None].to(features.dtype)
        return (self.normalization(features, mask) * mask).transpose(1, 2), Valid(lengths, mask.transpose(1, 2))
