"""Additive angular margin softmax (Deng et al., CVPR 2019, arXiv 1801.07698, eq. 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.alignment import in_full


def aam_loss(cosines: Tensor, labels: Tensor, margin: float, scale: float) -> Tensor:
    """Cross entropy of ``scale * cos(theta + margin)`` for the true class and ``scale * cos(theta)`` for the others.

    Where theta + margin would pass pi the target is continued linearly, so that it keeps falling.

    :param cosines: (B, C) margin-free cosines.
    :param labels: (B,) class indexes.
    """
    cosines = in_full(cosines)
    target = cosines.gather(1, labels[:, None])
    sine = (1.0 - target.square()).clamp_min(1e-12).sqrt()
    shifted = target * math.cos(margin) - sine * math.sin(margin)
    shifted = torch.where(target > -math.cos(margin), shifted, target - margin * math.sin(margin))
    return functional.cross_entropy(scale * cosines.scatter(1, labels[:, None], shifted), labels)
