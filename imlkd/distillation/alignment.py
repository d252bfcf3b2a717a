"""Alignment of outputs at three levels: instance, batch and class (Jin, Wang, Lin, CVPR 2023, sections 3.2-3.4).

All terms take logits (B, C), margin-free and at one scale for both networks, and are computed in fp32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def instance_level(student: Tensor, teacher: Tensor, temperatures: Sequence[float]) -> Tensor:
    """Mean over temperatures of tau^2 KL(teacher || student), averaged over the batch (Hinton et al., 2015)."""
    terms = []
    for tau in temperatures:
        divergence = functional.kl_div(
            functional.log_softmax(in_full(student) / tau, 1),
            functional.log_softmax(in_full(teacher) / tau, 1),
            reduction="batchmean",
            log_target=True,
        )
        terms.append(tau**2 * divergence)
    return torch.stack(terms).mean()


def batch_level(student: Tensor, teacher: Tensor, temperatures: Sequence[float]) -> Tensor:
    """Mean over temperatures of ||Pt Pt^T - Ps Ps^T||_F^2 / B: which segments get similar posteriors."""
    terms = []
    for tau in temperatures:
        ours, theirs = _posteriors(student, tau), _posteriors(teacher, tau)
        terms.append((theirs @ theirs.T - ours @ ours.T).square().sum() / len(student))
    return torch.stack(terms).mean()


def class_level(student: Tensor, teacher: Tensor, temperatures: Sequence[float]) -> Tensor:
    """Mean over temperatures of ||Pt^T Pt - Ps^T Ps||_F^2 / B: which speakers occur together.

    Through ||Pt Pt^T||^2 + ||Ps Ps^T||^2 - 2 ||Ps Pt^T||^2, so the C x C matrices are never built. In fp64: it is a
    difference of near-equal numbers.
    """
    terms = []
    for tau in temperatures:
        ours, theirs = _posteriors(student, tau).double(), _posteriors(teacher, tau).double()
        squared = (theirs @ theirs.T).square() + (ours @ ours.T).square() - 2 * (ours @ theirs.T).square()
        terms.append(squared.sum().clamp_min(0.0) / len(student))
    return torch.stack(terms).mean().to(in_full(student).dtype)


def _posteriors(logits: Tensor, tau: float) -> Tensor:
    return functional.softmax(in_full(logits) / tau, 1)


def in_full(values: Tensor) -> Tensor:
    """Half precision (autocast) to fp32; fp32 and fp64 stay as they are."""
    return values if values.dtype == torch.float64 else values.float()
