"""What carries the speaker in a few test recordings, for the teacher and the student side by side.

Explained is the cosine of a target trial's test side to its enrolment side, so that the maps say why the two were
taken for one voice. Pictures are plain: a column a frame, no margins, so that a place in them is a place in the audio.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.image import imsave
from scipy.stats import spearmanr

from imlkd.attribution.curves import FULL, FUSED
from imlkd.attribution.orders import Explained
from imlkd.attribution.perturbation import MODES
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.wav_explanation import Completeness, Request, WavExplanation, explain_waveform
from imlkd.config import load_config
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.models.speaker_model import SpeakerModel
from imlkd.reporting.page.listening import Clip, Clips

SHOWN = 4  # recordings
LONGEST = 10.0  # seconds of one


@dataclass(frozen=True)
class Strip:
    """Relevance of one model over windows of one duration, as a picture of one pixel's height.

    :param said: how far the map adds up.
    """

    model: str
    duration: str
    uri: str
    said: str


@dataclass(frozen=True)
class Explanation:
    """One recording.

    :param spectrogram: data URI of a PNG, a column a frame.
    :param worst: of the maps, how far one does not add up.
    :param agreement: rank correlation of the two models' relevance over the frames; None with one model.
    :param cosines: to the enrolment, by model.
    """

    clip: Clip
    enroll: str
    seconds: float
    spectrogram: str
    strips: Sequence[Strip]
    worst: str
    cosines: Mapping[str, float]
    agreement: float | None


@dataclass(frozen=True)
class Explanations:
    """All recordings, and insertion and deletion averaged over them.

    :param curves: by model, then mode and order: a value a fraction.
    :param areas: under them.
    :param missing: why there are none, or fewer than wanted; empty otherwise.
    """

    recordings: Sequence[Explanation]
    curves: Mapping[str, Mapping[str, Mapping[str, list[float]]]]
    areas: Mapping[str, Mapping[str, Mapping[str, float]]]
    missing: str


class Explainer:
    """Explains the same trials for every student; what was found of a model is kept for the next page.

    :param config: of stage 3, ``targets_<set>/config.yaml``; where it is not there its defaults.
    """

    def __init__(self, trials: Trials, clips: Clips, set_name: str, config: Path | None) -> None:
        self.clips, self.set_name = clips, set_name
        self.config = load_config(RelevanceConfig, config if config is not None and config.is_file() else None)
        self.pairs = chosen(trials, clips.reader(set_name).data.utt2spk, SHOWN)
        self._found: dict[str, dict[str, WavExplanation | str]] = {}

    def explained(self, models: Mapping[str, SpeakerModel], clips: Clips) -> Explanations:
        """Of these models, the first one's order first; recordings that one of them refuses are left out."""
        found = {name: self._of(name, model) for name, model in models.items()}
        kept, missing = [], []
        for enroll, test in self.pairs:
            own = {name: explained[test] for name, explained in found.items()}
            refused = [one for one in own.values() if isinstance(one, str)]
            missing += refused[:1]
            if not refused:
                kept.append((enroll, test, {k: one for k, one in own.items() if isinstance(one, WavExplanation)}))
        recordings = [_explanation(clips.clip(self.set_name, test, LONGEST), enroll, own) for enroll, test, own in kept]
        curves = {name: mean_curves([own[name] for _, _, own in kept]) for name in models} if kept else {}
        areas = {name: mean_areas([own[name] for _, _, own in kept]) for name in models} if kept else {}
        if not self.pairs:
            missing = ["no target trial has recordings on both sides"]
        return Explanations(recordings, curves, areas, "; ".join(missing))

    def _of(self, name: str, model: SpeakerModel) -> dict[str, WavExplanation | str]:
        if name not in self._found:
            self._found[name] = {test: self._one(model, enroll, test) for enroll, test in self.pairs}
        return self._found[name]

    def _one(self, model: SpeakerModel, enroll: str, test: str) -> WavExplanation | str:
        reader = self.clips.reader(self.set_name)
        try:
            if model.frontend.sample_rate != self.clips.sample_rate:
                raise UserError(f"it hears {model.frontend.sample_rate} Hz, the page {self.clips.sample_rate} Hz")
            target = model.embed(torch.from_numpy(reader.read(enroll)))
            request = Request(Explained("enrolment"), target, enroll, relevance=self.config)
            heard = reader.read(test, 0, round(LONGEST * reader.sample_rate))
            return explain_waveform(model, test, torch.from_numpy(heard), request)
        except UserError as error:
            return f"{test}: {error}"


def chosen(trials: Trials, utt2spk: Mapping[str, str], count: int) -> list[tuple[str, str]]:
    """Target trials whose sides are recordings: one a speaker, of speakers evenly over the list."""
    of_speaker: dict[str, tuple[str, str]] = {}
    for enroll, test, is_target in zip(trials.enroll, trials.test, trials.is_target.tolist(), strict=True):
        if is_target and enroll in utt2spk and test in utt2spk:
            of_speaker.setdefault(utt2spk[test], (enroll, test))
    pairs = list(of_speaker.values())
    count = min(count, len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)]


def mean_curves(found: Sequence[WavExplanation]) -> dict[str, dict[str, list[float]]]:
    """By mode and order, the mean over recordings at each fraction."""
    return {
        mode: {order: np.mean([one.tried[order].curves[mode] for one in found], 0).tolist() for order in found[0].tried}
        for mode in MODES
    }


def mean_areas(found: Sequence[WavExplanation]) -> dict[str, dict[str, float]]:
    """Of the areas under the curves."""
    return {
        mode: {order: float(np.mean([one.tried[order].areas[mode] for one in found])) for order in found[0].tried}
        for mode in MODES
    }


def _explanation(clip: Clip, enroll: str, found: Mapping[str, WavExplanation]) -> Explanation:
    first, *others = found.values()
    strips = [
        Strip(model, "whole" if name == FULL else f"{int(name) / FRAMES_PER_SECOND:g} s",
              png_uri(np.where(curve.covered, curve.values, np.nan)[None], "inferno"),
              _trust(one.completeness.get(name)))
        for model, one in found.items()
        for name, curve in one.curves.items()
        if name == FULL or (name != FUSED and int(name) < len(curve.values))  # a longer window is the whole recording
    ]  # fmt: skip
    order = first.order
    errors = [worst.error for one in found.values() for worst in one.completeness.values()]
    return Explanation(
        clip, enroll, first.seconds, _spectrogram(first), strips, f"{100 * max(errors):.1f} %",
        {name: one.value for name, one in found.items()},
        rank_correlation(first.curves[order].values, others[0].curves[order].values) if others else None,
    )  # fmt: skip


def _trust(found: Completeness | None) -> str:
    if found is None:
        return ""
    over = "" if found.converged else ", over tolerance"
    return f"adds up to {100 * found.error:.1f} %{over}; {found.nodes} nodes"


def _spectrogram(found: WavExplanation) -> str:
    values = found.features.T[::-1]
    low, high = np.quantile(values, [0.02, 0.998])
    return png_uri((values - low) / max(high - low, 1e-9), "bone")


def png_uri(values: Any, colours: str) -> str:
    """Values (H, W) of 0 to 1 in a colour map as a data URI, a pixel each; NaN is transparent."""
    masked = np.ma.masked_invalid(np.clip(values, 0.0, 1.0))
    pixels = matplotlib.colormaps[colours].with_extremes(bad=(0, 0, 0, 0))(masked, bytes=True)
    stream = io.BytesIO()
    imsave(stream, pixels, format="png", metadata={"Software": ""})
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def rank_correlation(one: Any, other: Any) -> float:
    """Spearman's, of two curves of a recording; of a flat one 0."""
    if np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return 0.0
    return float(spearmanr(one, other).statistic)
