"""`imlkd`: Integrated Multi-level Knowledge Distillation (arXiv 2409.09389).

    L = w_o * ML(x) + w_i * ML(x~),   ML = lambda_i * instance + lambda_b * batch + lambda_c * class

x~ is the integrated input: the teacher's Integrated-Gradients relevance, taken on segments of several durations, gates
the frames (II-soft). Published: three levels, several durations, IG-based inputs. Our reading: the gate, the weights,
and that the teacher hears x~ too.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.config import bounded
from imlkd.distillation.alignment import batch_level, class_level, instance_level
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.integrated_inputs import gated
from imlkd.distillation.method import Method, Needs
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class ImlkdConfig:
    """Weights of inputs and levels, temperatures of each level."""

    weight_input: float = bounded(1.0, low=0.0, help="w_o, of the plain input")
    weight_integrated: float = bounded(1.0, low=0.0, help="w_i, of the integrated input")
    weight_instance: float = bounded(1.0, low=0.0, help="lambda_i, of the instance level")
    weight_batch: float = bounded(1.0, low=0.0, help="lambda_b, of the batch level")
    weight_class: float = bounded(1.0, low=0.0, help="lambda_c, of the class level")
    instance_temperatures: list[float] = bounded(
        [2.0, 3.0, 4.0], low=0.1, high=100.0, help="tau of the instance level, averaged over"
    )
    gram_temperatures: list[float] = bounded(
        [2.0, 3.0], low=0.1, high=100.0, help="tau of the batch and class levels, averaged over"
    )


class Imlkd(Method):
    """Terms ``instance``, ``batch``, ``class`` of the plain input; with ``_ii`` those of the integrated one."""

    needs = Needs(teacher_logits=True, relevance=True)
    aligns = frozenset({"posteriors", "posterior relations"})

    def __init__(self, config: ImlkdConfig) -> None:
        super().__init__()
        self.config = config

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        """The plain one alone where the integrated one has no weight, as it would only change the batch statistics."""
        if not self.config.weight_integrated:
            return [batch.features]
        if batch.integrated is not None:
            return [batch.features, batch.integrated]
        if batch.gate is None:  # a batch outside the share with integrated inputs
            return [batch.features]
        return [batch.features, gated(batch.features, batch.gate)]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_logits is not None
        plain = self._levels(views[0].logits, batch.teacher_logits, self.config.weight_input)
        if len(views) == 1:
            return plain
        assert batch.teacher_logits_gated is not None
        integrated = self._levels(views[1].logits, batch.teacher_logits_gated, self.config.weight_integrated)
        return plain | {f"{name}_ii": term for name, term in integrated.items()}

    def _levels(self, student: Tensor, teacher: Tensor, weight: float) -> dict[str, Tensor]:
        config = self.config
        levels = {
            "instance": config.weight_instance * instance_level(student, teacher, config.instance_temperatures),
            "batch": config.weight_batch * batch_level(student, teacher, config.gram_temperatures),
            "class": config.weight_class * class_level(student, teacher, config.gram_temperatures),
        }
        return {name: weight * term for name, term in levels.items()}
