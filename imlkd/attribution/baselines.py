"""Where a path of Integrated Gradients begins: the input without what is to be explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from imlkd.errors import UserError
from imlkd.features.wave_frames import waveform_parts
from imlkd.models.speaker_model import FrontEnd, SpeakerModel

# (T, F) features and the number of frames that hold the utterance (behind them a front-end pads) -> (T, F)
Baseline = Callable[[Tensor, int], Tensor]
BASELINES = ("mean", "silence", "average", "zero")
SILENT_SECONDS = 2.0


def mean_frame(features: Tensor, frames: int) -> Tensor:
    """The utterance's own mean frame, repeated: zero after mean normalisation. Padding stays as it is."""
    baseline = features.clone()
    baseline[:frames] = features[:frames].mean(0)
    return baseline


def usual_baseline(frontend: FrontEnd) -> Baseline:
    """The mean frame, and silence of what are samples: where gates lead to, and the default of maps."""
    parts = waveform_parts(frontend)
    if not parts:
        return mean_frame

    def baseline(features: Tensor, frames: int) -> Tensor:
        filled = mean_frame(features, frames)
        for part in parts:
            filled[:frames, part] = 0.0
        return filled

    return baseline


def constant(frame: Tensor) -> Baseline:
    """One frame (F,) for all utterances."""

    def baseline(features: Tensor, frames: int) -> Tensor:
        if frame.shape != features.shape[1:]:
            raise UserError(f"baseline of {len(frame)} values a frame, features of {features.shape[1]}")
        filled = features.clone()
        filled[:frames] = frame.to(features)
        return filled

    return baseline


def silence(model: SpeakerModel) -> Baseline:
    """What the model's front-end makes of digital silence."""
    samples = round(SILENT_SECONDS * model.frontend.sample_rate)
    return constant(model.frontend(torch.zeros(samples))[0])


def average(utterances: Iterable[Tensor]) -> Baseline:
    """The mean frame over all frames of the given utterances, (T, F) each."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for features in utterances:
        total = total + features.double().sum(0)
        count += len(features)
    if not count:
        raise UserError("baseline average: no utterances are given")
    return constant((total / count).float())


def zero(model: SpeakerModel) -> Baseline:
    """All features 0: for mean-normalised features the mean frame, for plain log-mel ones a spectrum like any other."""
    return constant(torch.zeros(model.frontend.dim))


def baseline_of(name: str, model: SpeakerModel, utterances: Iterable[Tensor] = ()) -> Baseline:
    """By name, of :data:`BASELINES`.

    :param utterances: (T, F) each; read for ``average`` alone.
    """
    made: dict[str, Callable[[], Baseline]] = {
        "mean": lambda: usual_baseline(model.frontend),
        "silence": lambda: silence(model),
        "average": lambda: average(utterances),
        "zero": lambda: zero(model),
    }
    if name not in made:
        raise UserError(f"baseline {name!r}: expected one of {', '.join(BASELINES)}")
    return _beside_counts(made[name](), model.frontend)


def _beside_counts(baseline: Baseline, frontend: FrontEnd) -> Baseline:
    """Joined front-ends say in columns of their own how many frames each has: no feature, and left alone."""
    counts: slice | None = getattr(frontend, "counts", None)
    if counts is None:
        return baseline

    def kept(features: Tensor, frames: int) -> Tensor:
        filled = baseline(features, frames)
        filled[:, counts] = features[:, counts]
        return filled

    return kept
