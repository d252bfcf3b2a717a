"""Additive angular margin softmax (Deng et al., CVPR 2019, arXiv 1801.07698, eq. 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.alignment import in_full


def aam_loss(
    cosines: Tensor, labels: Tensor, margin: float, scale: float, top_k: int = 0, top_k_margin: float = 0.0
) -> Tensor:
    """Cross entropy of ``scale * cos(theta + margin)`` for the true class and ``scale * cos(theta)`` for the others.

    Where theta + margin would pass pi the target is continued linearly, so that it keeps falling.

    :param cosines: (B, C) margin-free cosines.
    :param labels: (B,) class indexes.
    :param top_k: other classes with the highest cosines, whose angle is counted smaller by ``top_k_margin``:
        inter-top-K (Zhao et al., ICASSP 2022, arXiv 2110.05042).
    """
    cosines = in_full(cosines)
    target = cosines.gather(1, labels[:, None])
    sine = (1.0 - target.square()).clamp_min(1e-12).sqrt()
    shifted = target * math.cos(margin) - sine * math.sin(margin)
    shifted = torch.where(target > -math.cos(margin), shifted, target - margin * math.sin(margin))
    if top_k and top_k_margin:
        cosines = _nearer(cosines, labels, min(top_k, cosines.shape[1] - 1), top_k_margin)
    return functional.cross_entropy(scale * cosines.scatter(1, labels[:, None], shifted), labels)


def _nearer(cosines: Tensor, labels: Tensor, top_k: int, margin: float) -> Tensor:
    """cos(theta - margin) for the ``top_k`` nearest wrong classes of each row; at most 1."""
    others = cosines.detach().scatter(1, labels[:, None], -2.0)
    places = others.topk(top_k, 1).indices
    chosen = cosines.gather(1, places)
    sine = (1.0 - chosen.square()).clamp_min(1e-12).sqrt()
    moved = chosen * math.cos(margin) + sine * math.sin(margin)
    return cosines.scatter(1, places, torch.where(chosen < math.cos(margin), moved, torch.ones_like(moved)))
