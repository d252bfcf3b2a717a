"""What a distillation method is: a config, what it needs, and named loss terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput


@dataclass(frozen=True)
class Needs:
    """What must be at hand before training; checked before the first step.

    :param labels: speaker labels beside those of the AAM loss.
    :param teacher_logits: the teacher's posteriors, so its head is over the student's speakers in their order.
    :param teacher_embedding: the teacher's embedding of each segment.
    :param teacher_stages: feature maps inside the teacher, which then runs beside the student and hears its features.
    :param relevance: the teacher's Integrated Gradients.
    :param input_gradient: gradients of the student with respect to its input, which are trained through.
    :param adapters: a student with adapters behind its blocks.
    """

    labels: bool = False
    teacher_logits: bool = False
    teacher_embedding: bool = False
    teacher_stages: bool = False
    relevance: bool = False
    input_gradient: bool = False
    adapters: bool = False


@dataclass(frozen=True)
class Widths:
    """Channels of what a network gives: of its embedding, its pooled statistics, and each stage."""

    embedding: int
    pooled: int = 0
    stages: tuple[int, ...] = ()

    @classmethod
    def of(cls, output: SpeakerOutput) -> Widths:
        """Those of an answer."""
        return cls(output.embedding.shape[1], output.pooled.shape[1], tuple(stage.shape[1] for stage in output.stages))


class Method(nn.Module):
    """Base of the methods. Trainable projections, if any, are its parameters; they are dropped after training."""

    needs = Needs()
    aligns: frozenset[str] = frozenset()
    """What its terms align: two methods that align the same thing do not go together."""
    alone = False
    """Whether it can't be put together with other methods."""
    all_classes = False
    """Whether a step has to see every class of the head, so that there is no partial softmax."""
    labelled_views = 1
    """How many of the first views the AAM loss counts on, averaged."""

    @property
    def temperatures(self) -> list[float]:
        """At which the teacher's posteriors are aligned; empty where they are not."""
        config = getattr(self, "config", None)
        single = getattr(config, "temperature", None)
        return [single] if single is not None else list(getattr(config, "instance_temperatures", []))

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        """Make the projections between student and teacher; called once, before the optimiser is."""

    def fit(self, sample: Callable[[int], Tensor]) -> None:
        """Learn from the teacher what no step of the training teaches; called once, after ``prepare``.

        :param sample: how many training segments -> the teacher's last stage for so many of them, (B, C, T).
        """

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        """The inputs (B, T, F) of the student's passes; the first is always the plain one."""
        return [batch.features]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        """Weighted loss terms by name, from what the student says of each view."""
        raise NotImplementedError
