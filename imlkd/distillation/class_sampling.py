"""Partial softmax: a step sees the classes of its batch and some others, drawn anew (An et al., ICCV 2021 workshops,
arXiv 2010.05222, Partial FC).

Every term of the step is then over these classes: the student's cosines are computed to them alone, the teacher's
logits are cut to them, and both posteriors add up to one over them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from imlkd.distillation.batch import DistillationBatch
from imlkd.models.speaker_model import CosineHead


def sampled(
    batch: DistillationBatch, head: CosineHead | None, share: float
) -> tuple[DistillationBatch, Tensor | None]:
    """The batch over ``share`` of the head's classes, labels and teacher included, and which classes these are.

    Draws from torch's generator on the CPU, whose state a checkpoint holds, and only where ``share`` is below 1.

    :return: the batch as it is and None, where all classes count.
    """
    if head is None or share >= 1.0:
        return batch, None
    classes = drawn_classes(batch.labels.cpu(), len(head.speakers), share).to(batch.labels.device)
    logits, gated = batch.teacher_logits, batch.teacher_logits_gated
    cut = replace(
        batch,
        labels=torch.searchsorted(classes, batch.labels),
        teacher_logits=None if logits is None else logits[:, classes],
        teacher_logits_gated=None if gated is None else gated[:, classes],
    )
    return cut, classes


def drawn_classes(labels: Tensor, count: int, share: float) -> Tensor:
    """(K,) sorted: all of ``labels``, and others at random, ``share * count`` in all, or just the labels if more."""
    key = torch.rand(count)
    key[labels] = 2.0
    own = len(set(labels.tolist()))
    return key.topk(max(own, round(share * count))).indices.sort().values
