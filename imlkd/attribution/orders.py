"""Orders in which the units of an utterance are shown or hidden: a score a unit, the highest first.

Relevance is what is tested; energy and chance are its controls. An order over frames crosses front-ends, since all
have frames of 10 ms; one over bins does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.quantities import QUANTITIES, Quantity, Target, quantity_of
from imlkd.attribution.relevance import RelevanceConfig, frame_sums
from imlkd.attribution.subject import Subject
from imlkd.errors import UserError
from imlkd.features.segments import Segment

ENERGY, RANDOM = "energy", "random"
SELF = "self"  # cosine to the utterance's own untouched embedding: needs neither label nor enrolment
EXPLAINED = (*QUANTITIES, SELF)
TEMPERATURES = {"probability": 1.0, "log-probability": 4.0}


@dataclass(frozen=True)
class Explained:
    """What a map says: a quantity of the output, and the baseline that it is compared with.

    :param quantity: of ``EXPLAINED``.
    :param baseline: of ``baselines.BASELINES``.
    """

    quantity: str = "cosine"
    temperature: float = 1.0
    baseline: str = "mean"

    @classmethod
    def parse(cls, text: str, baseline: str) -> Explained:
        """From ``QUANTITY`` or ``QUANTITY:TEMPERATURE``; UserError for anything else."""
        name, colon, number = text.partition(":")
        if name not in EXPLAINED:
            raise UserError(f"explained quantity {name!r}: expected one of {', '.join(EXPLAINED)}")
        try:
            temperature = float(number) if colon else TEMPERATURES.get(name, 1.0)
        except ValueError:
            temperature = 0.0
        if not 0.0 < temperature < 1e6 or (colon and name not in TEMPERATURES):
            raise UserError(f"explained quantity {text!r}: a temperature, above 0, is of {' and '.join(TEMPERATURES)}")
        return cls(name, temperature, baseline)

    def measured(self) -> Quantity:
        """The scalar of each row."""
        return quantity_of("enrolment" if self.quantity == SELF else self.quantity, self.temperature)

    def __str__(self) -> str:
        heat = f":{self.temperature:g}" if self.quantity in TEMPERATURES else ""
        return f"{self.quantity}{heat}-{self.baseline}"


class MapOrder:
    """The order by the maps of a model."""

    def __init__(self, name: str, subject: Subject, explained: Explained, unit: str, config: RelevanceConfig) -> None:
        """The subject's embeddings and classes must be there already.

        :param unit: ``frame`` or ``bin``.
        """
        self.name, self.subject, self.explained, self.unit, self.config = name, subject, explained, unit, config
        settings = config.integration()
        if unit == "bin":
            settings = replace(settings, resolution="time-frequency")
        origin = subject.baseline(explained.baseline)
        self.engine = IntegratedGradients(subject.model, settings, explained.measured(), origin)

    def scores(self, segments: Sequence[Segment]) -> list[Tensor]:
        """Of each segment (frames,) or (frames, F)."""
        asked = [
            Utterance(segment.id, self.subject.features(segment), self._target(segment.utterance), segment.frames)
            for segment in segments
        ]
        found = self.engine.explain(asked)
        return [
            relevance_scores(one.map[: segment.frames].float(), self.unit, self.config)
            for one, segment in zip(found, segments, strict=True)
        ]

    def _target(self, name: str) -> Target:
        if self.explained.quantity == SELF:
            return self.subject.embeddings[name]
        if self.explained.quantity == "enrolment":
            return self.subject.another_of(name)
        return self.subject.utt2spk[name]


def relevance_scores(attribution: Tensor, unit: str, config: RelevanceConfig) -> Tensor:
    """(T, F) map, or (T,) for signed relevance of frames, -> scores of frames (T,) or bins (T, F).

    Frames as stage 3 sees them, by ``sign`` and ``smoothing``, but neither clipped nor scaled: what the clip makes
    equal has an order too. Bins by the map itself, or its absolute value: ``relu`` would tie all negative ones.
    """
    if unit == "frame":
        return frame_sums(attribution[None], config)[0]
    return attribution.abs() if config.sign == "abs" else attribution


def energy_scores(features: Tensor, unit: str) -> Tensor:
    """Log energy of frames (T,), the mean over log-mel bins, or of bins (T, F), the features themselves."""
    return features.mean(1) if unit == "frame" else features


def random_scores(shape: Sequence[int], seed: int, name: str) -> Tensor:
    """Drawn scores; the same seed and name give the same ones, whatever was drawn before."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy(generator.permutation(int(np.prod(shape))).reshape(shape))
