"""`mlkd-noisy`: the teacher hears clean speech, the student noisy (Liu et al., Interspeech 2023, arXiv 2312.13556).

    L = w * mean_k [ mean |g_k(F_S) - n(F_T^k)| - mean log sigmoid cos( g_k(F_S), n(F_T^k) ) ]

Several stages of the teacher supervise the student's last one through 1x1 convolutions g_k, dropped after training; the
form is DistilHuBERT's (Chang, Yang, Lee, ICASSP 2022, eq. 1). Noise is added to the features' power
(`distillation/augmented.py`): our port, the paper's is in the waveform.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imlkd.config import bounded
from imlkd.distillation.augmented import noisy
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.stages import at_one_rate, level_distance, standardised
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class MlkdNoisyConfig:
    """Weight and noise."""

    weight: float = bounded(0.3, low=0.0, help="w, of the term")
    snr_low: float = bounded(0.0, low=-20.0, high=60.0, help="loudest noise, dB of signal over noise")
    snr_high: float = bounded(20.0, low=-20.0, high=60.0, help="softest noise, dB")


class MlkdNoisy(Method):
    """One term, ``levels_noisy``, of the second view."""

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"frames"})

    def __init__(self, config: MlkdNoisyConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        self.heads = nn.ModuleList(nn.Conv1d(student.stages[-1], width, 1) for width in teacher.stages)

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        return [batch.features, noisy(batch.features, self.config.snr_low, self.config.snr_high)]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        distances = []
        for head, stage in zip(self.heads, batch.teacher_output.stages, strict=True):
            ours, theirs = at_one_rate(views[1].output.stages[-1].float(), stage.float())
            distances.append(level_distance(head(ours), standardised(theirs)))
        return {"levels_noisy": self.config.weight * torch.stack(distances).mean()}
