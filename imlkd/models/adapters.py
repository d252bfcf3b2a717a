"""Adapters: small layers behind a network's blocks that can be switched off row by row (Houlsby et al., ICML 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """``x + U relu(D x)`` over channels, (B, C, T) -> (B, C, T); U is zero at first, so it begins as the identity.

    ``rows``, (B,) of ones and zeros, says for which rows of the batch it is on; None: for all, as in use.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv1d(channels, inner, 1), nn.Conv1d(inner, channels, 1)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)
        self.rows: Tensor | None = None

    def forward(self, frames: Tensor) -> Tensor:
        change: Tensor = self.up(torch.relu(self.down(frames)))
        if self.rows is not None:
            change = change * self.rows.to(change)[:, None, None]
        return frames + change


def adapters_of(model: nn.Module) -> list[Adapter]:
    """All adapters of a network."""
    return [module for module in model.modules() if isinstance(module, Adapter)]
