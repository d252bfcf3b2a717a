"""`oskdft`: one-step distillation and fine-tuning with adapters (Heo et al., Interspeech 2023, arXiv 2305.17394).

    L = AAM(x; adapters on) + w * mean_k [ mean |d_k| - lambda * mean log sigmoid cos( g_k(F_S), n(F_T^k) ) ]
    d_k = g_k(F_S; adapters off) - n(F_T^k)

Two passes of the student in one batch: on the first the adapters behind its blocks are on and labels count, on the
second they are off and its last stage follows several stages of the teacher through heads g_k of two 1x1 convolutions,
dropped after training. So what the teacher knows in general and what tells speakers apart get weights of their own; the
adapters stay in the student. Published for the first transformer layers of a self-supervised teacher; behind
convolutional blocks, with batch statistics shared by both passes, it is our port.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.stages import at_one_rate, level_distance, standardised
from imlkd.errors import UserError
from imlkd.models.adapters import Adapter, adapters_of
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class OskdftConfig:
    """Weights of the term and, in it, of the cosine."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")
    cosine: float = bounded(1.0, low=0.0, help="lambda, of the cosine in it")


class Oskdft(Method):
    """One term, ``levels``, of the second view."""

    needs = Needs(teacher_stages=True, adapters=True)
    aligns = frozenset({"frames"})
    alone = True  # which rows the adapters are on for follows from its own views

    def __init__(self, config: OskdftConfig) -> None:
        super().__init__()
        self.config = config
        self._switched: list[Adapter] = []

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.heads = nn.ModuleList(_head(student.stages[-1], width) for width in teacher.stages)

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        """UserError when the student has no adapters."""
        self._switched = adapters_of(model)
        if not self._switched:
            raise UserError("oskdft: the student has no adapters: set network.adapters=8 (--student-set)")
        rows = torch.ones(2 * len(batch.features))
        rows[len(batch.features) :] = 0.0
        for adapter in self._switched:
            adapter.rows = rows
        return [batch.features, batch.features]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        for adapter in self._switched:
            adapter.rows = None
        distances = []
        for head, stage in zip(self.heads, batch.teacher_output.stages, strict=True):
            ours, theirs = at_one_rate(views[1].output.stages[-1].float(), stage.float())
            distances.append(level_distance(head(ours), standardised(theirs), self.config.cosine))
        return {"levels": self.config.weight * torch.stack(distances).mean()}


def _head(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(channels, width, 1), nn.GELU(), nn.Conv1d(width, width, 1))
