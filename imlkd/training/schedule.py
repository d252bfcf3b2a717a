"""Learning rate and loss weights over the course of a training, as functions of the share done."""

from __future__ import annotations

import math

from imlkd.training.config import RateConfig


def one_cycle(progress: float, warm_up: float) -> float:
    """Factor of the peak learning rate at ``progress`` in [0, 1]: linear rise, then half a cosine down to 0."""
    if progress < warm_up:
        return max(progress / warm_up, 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def ramp(progress: float, length: float) -> float:
    """0 to 1 over the first ``length`` of the training, then 1."""
    return 1.0 if length <= 0 else min(progress / length, 1.0)


def rate_factor(progress: float, warm_up: float, rate: RateConfig) -> float:
    """Factor of the peak learning rate at ``progress`` in [0, 1], by the schedule that ``rate`` names."""
    if rate.schedule == "one-cycle" or progress < warm_up:
        return one_cycle(progress, warm_up)
    behind = (progress - warm_up) / (1 - warm_up)
    if rate.schedule == "cosine":
        return rate.last + (1 - rate.last) * 0.5 * (1 + math.cos(math.pi * behind))
    if rate.schedule == "exponential":
        return float(rate.last**behind)
    return triangles(behind, rate.last, rate.cycles)


def peak_rate(learning_rate: float, batch: int, rate: RateConfig) -> float:
    """The peak for the whole batch of a step, all processes together (linear: Goyal et al., arXiv 1706.02677)."""
    times = batch / rate.of_batch
    return learning_rate * {"none": 1.0, "linear": times, "sqrt": math.sqrt(times)}[rate.scaling]


def triangles(progress: float, low: float, cycles: int) -> float:
    """From 1 to ``low`` and up to half the height again (triangular2 of Smith, WACV 2017), ``cycles`` times."""
    cycle = min(int(progress * cycles), cycles - 1)
    place = progress * cycles - cycle
    falls = place < 0.5 or cycle == cycles - 1  # the last one goes all the way down
    share = place if cycle == cycles - 1 else 2 * place if falls else 2 * place - 1
    start, end = 0.5**cycle, 0.5 ** (cycle + 1)
    return low + (1 - low) * (start * (1 - share) if falls else end * share)


def margin_share(progress: float, begin: float, end: float) -> float:
    """0 before ``begin``, 1 from ``end`` on, straight in between."""
    return 1.0 if progress >= end else 0.0 if progress < begin else (progress - begin) / (end - begin)
