"""Every network of the repository, small, in double precision, with statistics that are not the initial ones."""

import functools
from typing import Any

import torch

from imlkd.features.fbank import FbankConfig
from imlkd.models.campplus import CampPlusConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.eres2net import Eres2netConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import NETWORKS, build_network
from imlkd.models.nexttdnn import NextTdnnConfig
from imlkd.models.redimnet import RedimnetConfig
from imlkd.models.resnet import ResnetConfig
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector import XvectorConfig

BINS = 12
SMALL: dict[str, Any] = {
    "tdnn": TdnnConfig(width=8, embedding_dim=6),
    "ecapa": EcapaConfig(channels=16, scale=4, squeeze=4, attention=6, embedding_dim=6),
    "xvector": XvectorConfig(width=8, wide=12, embedding_dim=6, segment_layers=2),
    "resnet": ResnetConfig(width=4, depth=10, embedding_dim=6),
    "campplus": CampPlusConfig(front=4, width=8, growth=4, bottleneck=2, layers=[2, 1, 2], embedding_dim=6),
    "redimnet": RedimnetConfig(channels=4, attention=5, embedding_dim=6),
    "eres2net": Eres2netConfig(width=4, blocks=[1, 1, 1, 1], embedding_dim=6),
    "nexttdnn": NextTdnnConfig(channels=16, blocks=1, kernels=[3, 9], embedding_dim=6),
}
MODELS = [*SMALL, "ge2e"]
assert set(SMALL) == set(NETWORKS), "a network is missing from the tests of the engine"


@functools.cache
def model_of(name: str) -> SpeakerModel:
    """With a head of three speakers; evaluation mode, float64."""
    torch.manual_seed(0)
    model: SpeakerModel
    if name == "ge2e":
        model = Ge2e()
    else:
        model = build_network(SMALL[name], FbankConfig(num_mel_bins=BINS))
        model.train()
        for _ in range(3):
            model(5 + 3 * torch.randn(8, 40, BINS), torch.full((8,), 40))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.head = CosineHead(model.embedding_dim, ["a", "b", "c"])
    return model.double().eval().requires_grad_(False)


def features_of(model: SpeakerModel, frames: int, seed: int = 0) -> torch.Tensor:
    """(frames, F) like the model's own: log mel, or log power above the floor."""
    generator = torch.Generator().manual_seed(seed)
    level = -8.0 if isinstance(model, Ge2e) else 5.0
    return level + 2 * torch.randn(frames, model.frontend.dim, generator=generator, dtype=torch.float64)
