"""Learning rate and loss weights over the course of a training, as functions of the share done."""

from __future__ import annotations

import math


def one_cycle(progress: float, warm_up: float) -> float:
    """Factor of the peak learning rate at ``progress`` in [0, 1]: linear rise, then half a cosine down to 0."""
    if progress < warm_up:
        return max(progress / warm_up, 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def ramp(progress: float, length: float) -> float:
    """0 to 1 over the first ``length`` of the training, then 1."""
    return 1.0 if length <= 0 else min(progress / length, 1.0)
