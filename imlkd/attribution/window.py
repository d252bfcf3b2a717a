"""Utterances side by side: checked, with their baselines, padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.attribution.baselines import Baseline
from imlkd.attribution.paths import Path
from imlkd.attribution.quantities import Quantity, Target
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class Utterance:
    """What is explained.

    :param features: (T, F) of the model's own front-end.
    :param target: a class (index, or name of its speaker), or an enrolment embedding (D,), as the quantity wants it.
    :param frames: frames that hold the utterance; a front-end's padding lies behind. None: all.
    :param baseline: (T, F); None: the engine's.
    """

    name: str
    features: Tensor
    target: Target
    frames: int | None = None
    baseline: Tensor | None = None


@dataclass
class Window:
    """Utterances, padded to the longest.

    :param names: of the utterances.
    :param features: (B, T, F), and their ``baselines``.
    :param ends: (B, T, F) each, where the path begins and ends, in its own coordinates.
    :param lengths: (B,) frames.
    :param targets: (B,) or (B, D).
    """

    names: list[str]
    features: Tensor
    baselines: Tensor
    ends: tuple[Tensor, Tensor]
    lengths: Tensor
    targets: Tensor


def window_of(
    utterances: Sequence[Utterance], model: SpeakerModel, quantity: Quantity, baseline: Baseline, path: Path
) -> Window:
    """Utterances as one window, on the model's device.

    :raises UserError: for an utterance that cannot be explained, naming it.
    """
    device = next(model.parameters(), torch.zeros(())).device
    features, baselines, targets = [], [], []
    for utterance in utterances:
        _check(utterance, model)
        baselines.append(_baseline_of(utterance, baseline).to(device))
        features.append(utterance.features.to(device))
        targets.append(quantity.target(model, utterance.target, utterance.name).to(device))
    x, start = (torch.nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (features, baselines))
    lengths = torch.tensor([len(one) for one in features], device=device)
    ends = (path.coordinates(start), path.coordinates(x))
    return Window([one.name for one in utterances], x, start, ends, lengths, torch.stack(targets))


def _check(utterance: Utterance, model: SpeakerModel) -> None:
    name, features = utterance.name, utterance.features
    dim = getattr(model.frontend, "dim", None)
    if features.ndim != 2 or dim not in (None, features.shape[-1]):
        raise UserError(f"{name}: features of shape {tuple(features.shape)}: the teacher takes (frames, {dim})")
    shortest = model.min_frames
    if len(features) < shortest:
        raise UserError(
            f"{name}: {len(features)} frames, but the teacher's receptive field needs {shortest}:"
            " leave the utterance out or lengthen it"
        )
    if not torch.isfinite(features).all():
        raise UserError(f"{name}: its features hold NaN or infinite values: check the audio")


def _baseline_of(utterance: Utterance, made: Baseline) -> Tensor:
    features, baseline = utterance.features, utterance.baseline
    if baseline is None:
        baseline = made(features, len(features) if utterance.frames is None else utterance.frames)
    if baseline.shape != features.shape:
        raise UserError(
            f"{utterance.name}: baseline of shape {tuple(baseline.shape)} for features of shape"
            f" {tuple(features.shape)}: give one of the same shape"
        )
    if not torch.isfinite(baseline).all():
        raise UserError(f"{utterance.name}: its baseline holds NaN or infinite values")
    return baseline
