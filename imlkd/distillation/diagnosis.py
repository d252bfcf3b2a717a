"""What a step says of its terms beside their values, so that terms can be compared: once an epoch, into the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch

COLLAPSED = 1e-3
DEAD = 1e-3  # of the AAM's gradient
POSTERIOR = (0.2, 0.95)  # docs/method.md: between them the teacher says more than the label


def diagnose(
    terms: Mapping[str, Tensor],
    embedding: Tensor,
    batch: DistillationBatch,
    logits: Tensor,
    temperatures: Sequence[float],
) -> dict[str, float]:
    """``gradient_<term>`` for each, and with a teacher's logits ``agreement`` and ``teacher_posterior``.

    :param terms: at full strength, ``aam`` among them.
    :param embedding: (V * B, D) of all views; gradient norms are over all of it.
    :param logits: (B, C), the student's of the plain view.
    :param temperatures: the method's, over which the teacher's posterior of the true speaker is averaged.
    """
    found: dict[str, float] = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, embedding, retain_graph=True, allow_unused=True)
        found[f"gradient_{name}"] = 0.0 if gradient is None else float(gradient.norm())
    if batch.teacher_logits is not None:
        theirs = in_full(batch.teacher_logits)
        found["agreement"] = float((logits.argmax(1) == theirs.argmax(1)).float().mean())
        for_each = [(theirs / tau).softmax(1).gather(1, batch.labels[:, None]).mean() for tau in temperatures]
        if for_each:
            found["teacher_posterior"] = float(torch.stack(for_each).mean())
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def spread(embedding: Tensor) -> float:
    """1 - |mean of the unit embeddings|^2: their variance in all directions, 0 when all say the same.

    :param embedding: (B, D).
    """
    mean = functional.normalize(embedding.detach().float()).mean(0)
    return float(f"{1.0 - float(mean.square().sum()):.4g}")


def warnings(found: Mapping[str, float]) -> list[str]:
    """A line for each term that no longer moves the embedding, and for a posterior that says the label or nothing."""
    floor = DEAD * found.get("gradient_aam", 0.0)
    said = [
        f"{name.removeprefix('gradient_')} is dead: its gradient at the embedding is {value:g}, that of aam"
        f" {found['gradient_aam']:g}: raise its weight or change its temperature, or leave it out"
        for name, value in found.items()
        if name.startswith("gradient_") and value < floor
    ]
    posterior = found.get("teacher_posterior")
    if posterior is not None and not POSTERIOR[0] <= posterior <= POSTERIOR[1]:
        way = "raise" if posterior > POSTERIOR[1] else "lower"
        said.append(f"the teacher's posterior of the true speaker is {posterior:.3g} on average: {way} the temperature")
    if found.get("spread", 1.0) < COLLAPSED:
        said.append(
            f"the embedding is collapsed: all segments say nearly the same (spread {found['spread']:g}): lower"
            " learning_rate, or the weights of the method's terms"
        )
    return said
