"""Feature maps of two networks side by side: which stages go together, and one frame rate for both.

Stages are (B, channels, frames). Networks differ in depth, so stages pair by relative depth, the last with the last;
they differ in stride, so the map with more frames is averaged over time to the other's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def paired(students: int, teachers: int) -> list[tuple[int, int]]:
    """Indexes of stages at the same relative depth, as many as the shallower network has."""
    count = min(students, teachers)
    return [((i + 1) * students // count - 1, (i + 1) * teachers // count - 1) for i in range(count)]


def at_one_rate(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the lower number of frames."""
    frames = min(first.shape[2], second.shape[2])
    return averaged(first, frames), averaged(second, frames)


def averaged(stage: Tensor, frames: int) -> Tensor:
    """(B, C, T) -> (B, C, frames), each the mean of the frames that it covers."""
    return stage if stage.shape[2] == frames else functional.adaptive_avg_pool1d(stage, frames)


def paired_maps(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The student's and the teacher's maps, pair by pair, at one frame rate and in fp32 at least."""
    return [
        at_one_rate(_in_full(student[i]), _in_full(teacher[j])) for i, j in paired(len(student), len(teacher))
    ]


def standardised(stage: Tensor) -> Tensor:
    """Each channel of (B, C, T) with mean 0 and deviation 1 over the batch's frames; a constant channel gives 0."""
    centred = stage - stage.mean((0, 2), keepdim=True)
    deviation = centred.square().mean((0, 2), keepdim=True).sqrt()
    return centred / deviation.clamp_min(1e-5)


def level_distance(student: Tensor, teacher: Tensor, cosine: float = 1.0) -> Tensor:
    """Absolute difference plus ``cosine`` times the cosine term, (B, C, T) both, the cosine frame by frame.

    DistilHuBERT's distance of feature maps (Chang, Yang, Lee, ICASSP 2022, eq. 1).
    """
    apart = (student - teacher).abs().mean()
    return apart - cosine * functional.logsigmoid(functional.cosine_similarity(student, teacher, dim=1)).mean()


def statistics(stage: Tensor) -> Tensor:
    """Mean and standard deviation over time: (B, C, T) -> (B, 2C)."""
    variance = stage.var(2, unbiased=False)
    return torch.cat([stage.mean(2), (variance + 1e-5).sqrt()], 1)


def _in_full(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
