"""Integrated Gradients (Sundararajan, Taly, Yan, ICML 2017, eq. 1) of a speaker model's target cosine, by captum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.models.speaker_model import SpeakerModel

SMALLEST_CHANGE = 1e-3  # below this change of the cosine a relative error says nothing


@dataclass
class Explanation:
    """Attribution of a batch.

    :param attribution: (B, T, F), zero where input and baseline agree.
    :param error: (B,) completeness error |sum A - (F(x) - F(x'))| / |F(x) - F(x')|.
    """

    attribution: Tensor
    error: Tensor


def mean_frame_baseline(features: Tensor, frames: int) -> Tensor:
    """Each row's mean over its first ``frames`` frames; what follows (a front-end's padding) stays as it is."""
    baseline = features.clone()
    baseline[:, :frames] = features[:, :frames].mean(1, keepdim=True)
    return baseline


def explain(model: SpeakerModel, features: Tensor, labels: Tensor, frames: int, config: RelevanceConfig) -> Explanation:
    """Explain the cosine to each row's own class, on the straight path from its mean frame.

    :param features: (B, T, F) of the model's own front-end.
    :param labels: (B,) class indexes in the model's head.
    :param frames: valid frames, the same for all rows.
    """
    from captum.attr import IntegratedGradients

    def target_cosine(points: Tensor, classes: Tensor) -> Tensor:
        lengths = torch.full((len(points),), points.shape[1])
        cosines: Tensor = model(points, lengths).cosines
        return cosines.gather(1, classes[:, None])[:, 0]

    baseline = mean_frame_baseline(features, frames)
    attribution, delta = IntegratedGradients(target_cosine, multiply_by_inputs=True).attribute(
        features,
        baseline,
        additional_forward_args=(labels,),
        n_steps=config.nodes,
        method=config.rule,
        internal_batch_size=max(len(features), 8),
        return_convergence_delta=True,
    )
    with torch.no_grad():
        change = target_cosine(features, labels) - target_cosine(baseline, labels)
    error = delta.abs() / change.abs().clamp_min(SMALLEST_CHANGE)
    return Explanation(attribution.float(), error.float())
