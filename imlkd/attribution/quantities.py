"""What of a teacher's output is explained: a scalar for each row of a batch.

Target cosine is the default: verification scores with it, and it does not saturate (docs/method.md, step 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

SCALE = 30.0  # of the cosines, as in training
OF_CLASS = ("cosine", "probability", "log-probability")  # these need a speaker head
QUANTITIES = (*OF_CLASS, "enrolment")

# A class by its index or its speaker's name, or an enrolment embedding (D,).
Target = int | str | Tensor


class Quantity(Protocol):
    """A scalar of each row."""

    def __call__(self, output: SpeakerOutput, targets: Tensor) -> Tensor:
        """Output of B rows and their stacked targets -> (B,)."""

    def target(self, model: SpeakerModel, given: Target, name: str) -> Tensor:
        """The target of one utterance as a tensor; UserError, with the utterance's ``name``, when it does not fit."""


class _OfClass:
    """A quantity of a class of the model's head."""

    def target(self, model: SpeakerModel, given: Target, name: str) -> Tensor:
        if model.head is None:
            raise UserError(f"{name}: the teacher has no speaker head: train or fit one (stage 2)")
        speakers = model.head.speakers
        if isinstance(given, str) and given in speakers:
            given = speakers.index(given)
        if isinstance(given, Tensor) and given.ndim == 0:
            given = int(given)
        if not isinstance(given, int) or not 0 <= given < len(speakers):
            raise UserError(
                f"{name}: the teacher knows no class {given}: its head holds {len(speakers)} speakers"
                f" (first: {' '.join(speakers[:3])}); train it or fit its head on data that holds this one"
            )
        return torch.tensor(given)


@dataclass(frozen=True)
class TargetCosine(_OfClass):
    """Cosine to the class."""

    def __call__(self, output: SpeakerOutput, targets: Tensor) -> Tensor:
        return _cosines(output).gather(1, targets[:, None])[:, 0]


@dataclass(frozen=True)
class LogProbability(_OfClass):
    """Log of the class's posterior, ``log_softmax(scale * cosines / temperature)``."""

    temperature: float = 4.0
    scale: float = SCALE

    def __call__(self, output: SpeakerOutput, targets: Tensor) -> Tensor:
        logits = self.scale / self.temperature * _cosines(output)
        return logits.log_softmax(1).gather(1, targets[:, None])[:, 0]


@dataclass(frozen=True)
class Probability(_OfClass):
    """The class's posterior."""

    temperature: float = 1.0
    scale: float = SCALE

    def __call__(self, output: SpeakerOutput, targets: Tensor) -> Tensor:
        return LogProbability(self.temperature, self.scale)(output, targets).exp()


@dataclass(frozen=True)
class EnrolmentCosine:
    """Cosine to an enrolment embedding (D,); needs no head."""

    def __call__(self, output: SpeakerOutput, targets: Tensor) -> Tensor:
        return functional.cosine_similarity(output.embedding, targets.to(output.embedding), dim=1)

    def target(self, model: SpeakerModel, given: Target, name: str) -> Tensor:
        if not isinstance(given, Tensor) or given.shape != (model.embedding_dim,):
            shape = tuple(given.shape) if isinstance(given, Tensor) else given
            raise UserError(f"{name}: enrolment {shape}: expected an embedding of {model.embedding_dim} values")
        if not torch.isfinite(given).all() or not given.any():
            raise UserError(f"{name}: its enrolment embedding is zero or holds NaN: check the enrolment's audio")
        return given


def quantity_of(name: str, temperature: float) -> Quantity:
    """By name, of :data:`QUANTITIES`."""
    made: dict[str, Quantity] = {
        "cosine": TargetCosine(),
        "probability": Probability(temperature),
        "log-probability": LogProbability(temperature),
        "enrolment": EnrolmentCosine(),
    }
    if name not in made:
        raise UserError(f"explained quantity {name!r}: expected one of {', '.join(QUANTITIES)}")
    return made[name]


def _cosines(output: SpeakerOutput) -> Tensor:
    assert output.cosines is not None  # the head was asked for when the target was taken
    return output.cosines
