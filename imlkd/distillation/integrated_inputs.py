"""Integrated inputs: the teacher's relevance worked into what student and teacher hear.

One operator, ``x~ = x' + G * (x - x')``: an interpolation between a baseline and the input, frame by frame. The exact
form of arXiv 2409.09389 is not public; II-soft (``G = rho + (1 - rho) a``) is our reading, see docs/method.md.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_frame(features: Tensor) -> Tensor:
    """The baseline x': each utterance's mean frame, (B, T, F) -> (B, 1, F). It carries no temporal information."""
    return features.mean(1, keepdim=True)


def soft_gate(relevance: Tensor, rho: float) -> Tensor:
    """II-soft: relevance a in [0, 1], (B, T) -> G in [rho, 1]; rho = 1 leaves the input as it is."""
    return rho + (1.0 - rho) * relevance


def gated(features: Tensor, gate: Tensor) -> Tensor:
    """``x' + G (x - x')``: (B, T, F) and (B, T) -> (B, T, F)."""
    baseline = mean_frame(features)
    return torch.lerp(baseline.expand_as(features), features, gate[:, :, None])
