"""`iusp`: intra-utterance similarity preserving (Chang et al., Interspeech 2020, arXiv 2009.01759).

    L = w * mean_k (1/B) sum_b (1/T'^2) || G_T - G_S ||_F^2,   G = rows of U U^T at unit length, U = (T', channels)

Which frames of an utterance look alike to the teacher look alike to the student; `sp` does that across a batch. Our
reading: time is averaged to 40 ms first (neighbours are alike for everybody), and the mean frame is taken out, without
which maps behind a ReLU all look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs
from imlkd.distillation.methods.sp import similarities
from imlkd.distillation.stages import averaged, paired_maps


@dataclass(frozen=True)
class IuspConfig:
    """Weight and frame rate."""

    weight: float = bounded(1000.0, low=0.0, help="w, of the term")
    frames_per_second: int = bounded(25, low=1, high=100, help="at which frames are compared, at most")


def frame_similarity_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the frames' similarities within each row of two (B, C, T)."""
    ours, theirs = (
        similarities((stage - stage.mean(2, keepdim=True)).transpose(1, 2)) for stage in (student, teacher)
    )
    return (ours - theirs).square().mean()


class Iusp(Method):
    """One term, ``frame_similarity``."""

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"frame relations"})

    def __init__(self, config: IuspConfig) -> None:
        super().__init__()
        self.config = config

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        most = max(2, batch.features.shape[1] * self.config.frames_per_second // 100)
        distances = [
            frame_similarity_distance(*(averaged(stage, min(most, stage.shape[2])) for stage in pair))
            for pair in paired_maps(views[0].output.stages, batch.teacher_output.stages)
        ]
        return {"frame_similarity": self.config.weight * torch.stack(distances).mean()}
