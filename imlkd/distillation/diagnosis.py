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
    stage: Tensor | None = None,
) -> dict[str, float]:
    """``gradient_<term>`` for each, and with a teacher's logits ``agreement`` and ``teacher_posterior``.

    A term of frames does not pass the embedding: its gradient is taken at the last stage, as
    ``stage_gradient_<term>``, and AAM's is taken there too.

    :param terms: at full strength, ``aam`` among them.
    :param embedding: (V * B, D) of all views; gradient norms are over all of it.
    :param stage: (V * B, C, T), the last one.
    :param logits: (B, C), the student's of the plain view.
    :param temperatures: the method's, over which the teacher's posterior of the true speaker is averaged.
    """
    found: dict[str, float] = {}
    for name, term in terms.items():
        norm = _gradient_norm(term, embedding)
        if norm is None and stage is not None and (inside := _gradient_norm(term, stage)) is not None:
            found["stage_gradient_aam"] = _gradient_norm(terms["aam"], stage) or 0.0
            found[f"stage_gradient_{name}"] = inside
        else:
            found[f"gradient_{name}"] = norm or 0.0
    if batch.teacher_logits is not None:
        theirs = in_full(batch.teacher_logits)
        found["agreement"] = float((logits.argmax(1) == theirs.argmax(1)).float().mean())
        for_each = [(theirs / tau).softmax(1).gather(1, batch.labels[:, None]).mean() for tau in temperatures]
        if for_each:
            found["teacher_posterior"] = float(torch.stack(for_each).mean())
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _gradient_norm(term: Tensor, place: Tensor) -> float | None:
    """None where the term does not depend on the place."""
    if not term.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(term, place, retain_graph=True, allow_unused=True)
    return None if gradient is None else float(gradient.norm())


def spread(embedding: Tensor) -> float:
    """1 - |mean of the unit embeddings|^2: their variance in all directions, 0 when all say the same.

    :param embedding: (B, D).
    """
    mean = functional.normalize(embedding.detach().float()).mean(0)
    return float(f"{1.0 - float(mean.square().sum()):.4g}")


def warnings(found: Mapping[str, float]) -> list[str]:
    """A line for each term that no longer moves the student, and for a posterior that says the label or nothing."""
    said = []
    for prefix, place in (("gradient_", "embedding"), ("stage_gradient_", "last stage")):
        whole = found.get(f"{prefix}aam", 0.0)
        said += [
            f"{name.removeprefix(prefix)} is dead: its gradient at the {place} is {value:g}, that of aam {whole:g}:"
            " raise its weight or change its temperature, or leave it out"
            for name, value in found.items()
            if name.startswith(prefix) and value < DEAD * whole
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
