"""`mlld`: multi-level logit distillation (Jin, Wang, Lin, CVPR 2023, sections 3.2-3.4), without integrated inputs.

    L = w * sum over views u of [ lambda_i instance(u) + lambda_b batch(u) + lambda_c class(u) ]

Two views, the plain and a masked one, with the labels on both. The clean formulas, not the released code's masks of
half-confident rows. Our reading: the teacher's answer to the plain view is the target of both, and the class level is
divided by the batch, not by the classes, which would silence it at thousands of speakers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.alignment import batch_level, class_level, instance_level
from imlkd.distillation.augmented import masked
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class MlldConfig:
    """Weights of views and levels, temperatures of each level."""

    weight: float = bounded(1.0, low=0.0, help="w, of each view")
    weight_instance: float = bounded(1.0, low=0.0, help="lambda_i, of the instance level")
    weight_batch: float = bounded(1.0, low=0.0, help="lambda_b, of the batch level")
    weight_class: float = bounded(1.0, low=0.0, help="lambda_c, of the class level")
    instance_temperatures: list[float] = bounded(
        [2.0, 3.0, 4.0], low=0.1, high=100.0, help="tau of the instance level, averaged over"
    )
    gram_temperatures: list[float] = bounded(
        [2.0, 3.0], low=0.1, high=100.0, help="tau of the batch and class levels, averaged over"
    )


class Mlld(Method):
    """Terms ``instance``, ``batch``, ``class`` of the plain view; with ``_masked`` those of the masked one."""

    needs = Needs(teacher_logits=True)
    aligns = frozenset({"posteriors", "posterior relations"})
    labelled_views = 2

    def __init__(self, config: MlldConfig) -> None:
        super().__init__()
        self.config = config

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        return [batch.features, masked(batch.features)]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        config = self.config
        terms: dict[str, Tensor] = {}
        for view, suffix in zip(views, ("", "_masked"), strict=True):
            both = view.logits, batch.teacher_logits
            levels = {
                "instance": config.weight_instance * instance_level(*both, config.instance_temperatures),
                "batch": config.weight_batch * batch_level(*both, config.gram_temperatures),
                "class": config.weight_class * class_level(*both, config.gram_temperatures),
            }
            terms |= {f"{name}{suffix}": config.weight * term for name, term in levels.items()}
        return terms
