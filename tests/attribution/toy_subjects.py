"""Small models for tests of faithfulness: one that is linear in its input, one that is a network on the toy corpus."""

import torch
from torch import Tensor

from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead, SpeakerModel, SpeakerOutput
from imlkd.models.tdnn import Tdnn, TdnnConfig

SPEAKERS = ["s3", "s0", "s2", "s1"]


class Flat:
    """A front-end that only states its size."""

    sample_rate = 16000

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, waveform: Tensor) -> Tensor:
        raise NotImplementedError


class Linear(SpeakerModel):
    """The embedding is the sum of all frames."""

    def __init__(self, dim: int) -> None:
        super().__init__(Flat(dim), dim)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        assert (lengths == features.shape[1]).all()
        total = features.sum(1)
        return SpeakerOutput([], total, total, None)


def toy_tdnn(bins: int = 24, seed: int = 0) -> SpeakerModel:
    """With a head of the toy corpus's four speakers, whose statistics are those of log mel."""
    torch.manual_seed(seed)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=bins))
    model.train()(torch.randn(6, 30, bins) + 8, torch.full((6,), 30))
    model.head = CosineHead(5, SPEAKERS)
    return model.eval().requires_grad_(False)
