"""Second views of a batch of log-mel features: masked, or as if noise were in the room.

Drawn from torch's generator, whose state is part of a checkpoint, so that a resumed training sees the same views.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imlkd.distillation.integrated_inputs import mean_frame


def masked(features: Tensor, time_share: float = 0.2, bin_share: float = 0.15) -> Tensor:
    """SpecAugment (Park et al., Interspeech 2019) without warping: in each row one stretch of time and one of bins.

    Each is as long as drawn, at most the share given, and takes the row's mean frame: no new level comes in.

    :param features: (B, T, F).
    """
    rows, frames, bins = features.shape
    hidden = _stretch(rows, frames, time_share)[:, :, None] | _stretch(rows, bins, bin_share)[:, None, :]
    return torch.where(hidden.to(features.device), mean_frame(features), features)


def _stretch(rows: int, length: int, share: float) -> Tensor:
    """(rows, length) bool: one stretch a row, of a length uniform in [0, share * length]."""
    width = (torch.rand(rows, 1) * share * length).floor()
    start = (torch.rand(rows, 1) * (length - width + 1)).floor()
    place = torch.arange(length)[None]
    return (place >= start) & (place < start + width)


def noisy(features: Tensor, low: float, high: float) -> Tensor:
    """Steady noise added in the power domain: log(exp(x) + exp(n)) for natural log mel (B, T, F).

    Its level is drawn for each row between ``low`` and ``high`` dB below the row's mean power, its spectrum falls or
    rises by at most 10 dB over the bins, and each bin fluctuates as the power of Gaussian noise does.
    """
    rows, _, bins = features.shape
    to_log = math.log(10.0) / 10.0
    power = features.exp().mean((1, 2), keepdim=True).log()
    ratio = low + (high - low) * torch.rand(rows, 1, 1)
    tilt = 10.0 * (2.0 * torch.rand(rows, 1, 1) - 1.0) * (torch.linspace(-0.5, 0.5, bins)[None, None])
    fluctuation = torch.randn(*features.shape, 2).square().mean(-1).clamp_min(1e-6).log()
    noise = power + ((tilt - ratio) * to_log + fluctuation).to(features)
    return torch.logaddexp(features, noise)
