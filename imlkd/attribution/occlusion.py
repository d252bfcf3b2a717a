"""Relevance without a gradient: what the explained quantity loses when a stretch of frames is replaced.

Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2, over time: a window
slides over the utterance, and a frame's value is the mean of F(x) - F(x with the window at its baseline) over the
windows that cover it. Computed by captum. Such maps are not complete: their sum is no difference of two answers, so
there is no error that more work would lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor

from imlkd.attribution.baselines import Baseline
from imlkd.attribution.integrated_gradients import Attribution
from imlkd.attribution.quantities import Quantity, TargetCosine
from imlkd.attribution.relevance import OcclusionConfig
from imlkd.attribution.window import Utterance
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.models.speaker_model import SpeakerModel


class Occlusion:
    """As :class:`IntegratedGradients`, of a model that only answers.

    :param rows: inputs that go through the model together.
    """

    def __init__(
        self, model: SpeakerModel, config: OcclusionConfig, baseline: Baseline, rows: int,
        quantity: Quantity | None = None,
    ) -> None:  # fmt: skip
        self.model, self.baseline, self.rows = model, baseline, rows
        self.quantity = quantity or TargetCosine()
        self.window, self.hop = (max(1, round(s * FRAMES_PER_SECOND)) for s in (config.window, config.hop))

    def explain(self, utterances: Iterable[Utterance]) -> Iterator[Attribution]:
        """Maps (T,) of all utterances, in their order; ``nodes`` are the answers that each took."""
        for utterance in utterances:
            yield self._explain(utterance)

    @torch.no_grad()
    def _explain(self, utterance: Utterance) -> Attribution:
        features, frames = utterance.features, utterance.frames or len(utterance.features)
        target = self.quantity.target(self.model, utterance.target, utterance.name).to(features.device)
        baseline = self.baseline(features, frames)
        answers = 0

        def answer(points: Tensor, targets: Tensor) -> Tensor:
            nonlocal answers
            answers += len(points)
            lengths = torch.full((len(points),), points.shape[1], device=points.device)
            return self.quantity(self.model(points, lengths), targets)

        window = min(self.window, len(features))
        found = CaptumOcclusion(answer).attribute(
            features[None],
            sliding_window_shapes=(window, features.shape[1]),
            strides=(min(self.hop, window), features.shape[1]),
            baselines=baseline[None],
            additional_forward_args=target[None],
            perturbations_per_eval=self.rows,
        )
        ends = answer(torch.stack([features, baseline]), target.expand(2, *target.shape))
        change = float(ends[0] - ends[1])
        return Attribution(utterance.name, found[0].mean(1).float(), change, 0.0, answers, answers, True, True)
