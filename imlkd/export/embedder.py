"""What is exported: front-end, network and normalised length in one module, for a batch of equally long rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.export.front_end import GraphFrontEnd, graph_front_end, largest
from imlkd.features.power_mel import COVERED, STEP, WINDOW, mel_power
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import SpeakerModel


class FeaturesEmbedder(nn.Module):
    """Features (B, T, F) of the model's own front-end -> unit embeddings (B, D).

    :param edge: frames that the front-end has put at either end and the network drops; here they are added again.
    """

    def __init__(self, model: SpeakerModel, edge: int = 0) -> None:
        super().__init__()
        self.network, self.edge = _network(model), edge

    def forward(self, features: Tensor) -> Tensor:
        if self.edge:
            features = torch.cat([features[:, :1], features, features[:, -1:]], dim=1)
        return functional.normalize(self.network(features))


class WaveformEmbedder(nn.Module):
    """Waveforms (B, samples) in [-1, 1] at the model's rate -> unit embeddings (B, D)."""

    def __init__(self, model: SpeakerModel) -> None:
        super().__init__()
        self.front_end = graph_front_end(model.frontend)
        self.network = _network(model)
        self.min_samples = min_samples(model, self.front_end)

    def forward(self, waveform: Tensor) -> Tensor:
        return functional.normalize(self.network(self.front_end(waveform)))


def min_samples(model: SpeakerModel, front_end: GraphFrontEnd) -> int:
    """Shortest waveform that the layers can read."""
    return 1 if isinstance(model, Ge2e) else front_end.min_samples(max(1, model.min_frames))


class _WholeRows(nn.Module):
    """A network on rows that are all valid to their end; the speaker head is left out."""

    def __init__(self, model: SpeakerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        lengths = torch.full((features.shape[0],), features.shape[1], device=features.device)
        return self.model.encode(features, lengths).embedding


class _Ge2eRows(nn.Module):
    """The GE2E encoder on rows of one length: its windows are the same for all of them."""

    def __init__(self, model: Ge2e) -> None:
        super().__init__()
        self.layers, self.linear = model.layers, model.linear

    def forward(self, features: Tensor) -> Tensor:
        rows, frames = features.shape[:2]
        count = 1 + largest(0, frames - COVERED - 1) // STEP
        start = torch.arange(count, device=features.device)[:, None] * STEP
        windows = features[:, start + torch.arange(WINDOW, device=features.device)]
        hidden = mel_power(windows.flatten(0, 1))
        for layer in self.layers:
            hidden, _ = layer(hidden)
        partials = functional.normalize(torch.relu(self.linear(hidden[:, -1])))
        return partials.reshape(rows, count, -1).mean(1)


def _network(model: SpeakerModel) -> nn.Module:
    if isinstance(model, Ge2e):
        return _Ge2eRows(model)
    model.head = None
    return _WholeRows(model)
