"""What carries the speaker in one recording: relevance at each duration, and whether the model goes by it.

::

    found = explain_waveform(model, "name", waveform, Request(Explained("self")))
    found.curves["200"].values, found.completeness["200"].error, found.tried["relevance"].areas["insertion"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from imlkd.attribution.areas import area
from imlkd.attribution.baselines import Baseline, mean_frame
from imlkd.attribution.curves import FULL, FUSED, SHORTEST, Curve, curve_windows, curves_of, distinct
from imlkd.attribution.evidence import find_evidence
from imlkd.attribution.integrated_gradients import Attribution, IntegratedGradients, Utterance
from imlkd.attribution.orders import (
    ENERGY,
    RANDOM,
    TEMPERATURES,
    Explained,
    energy_scores,
    random_scores,
    relevance_scores,
)
from imlkd.attribution.perturbation import FRACTIONS, MODES, Probe, answers, ranks
from imlkd.attribution.quantities import Target
from imlkd.attribution.relevance import EvidenceConfig, RelevanceConfig, frame_relevance
from imlkd.attribution.segments import runs_of
from imlkd.errors import UserError
from imlkd.features.activity import ActivityConfig, speech_frames
from imlkd.features.fbank import FRAMES_PER_SECOND, FbankConfig, LogMel, num_frames
from imlkd.features.segments import Segment
from imlkd.features.speech import cut_out
from imlkd.kaldi_io import FloatArray
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput
from imlkd.progress import Progress
from imlkd.scoring.metrics import Floats

RELEVANCE = "relevance"
SHORTEST_EVIDENCE = 0.1  # seconds, where the configuration looks for none

Span = tuple[float, float]


@dataclass(frozen=True)
class Request:
    """What is asked of a recording.

    :param explained: the quantity.
    :param target: of ``enrolment`` an embedding, of a class its speaker; None for ``self``.
    :param about: the target in words, for pictures.
    :param baseline: where the path begins; ``fill``: what stands in the place of hidden frames.
    :param draws: random orders that are averaged.
    """

    explained: Explained
    target: Target | None = None
    about: str = "its own untouched embedding"
    baseline: Baseline = mean_frame
    fill: Baseline = mean_frame
    relevance: RelevanceConfig = field(default_factory=RelevanceConfig)
    draws: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Completeness:
    """The worst window of a curve."""

    windows: int
    nodes: int
    error: float
    converged: bool


@dataclass(frozen=True)
class Tried:
    """The explained quantity as frames are inserted and deleted in one order.

    :param curves: by mode, a value a fraction of ``FRACTIONS``; of random orders the mean, and its bounds.
    :param areas: under the curves, by mode.
    """

    curves: dict[str, list[float]]
    lowest: dict[str, list[float]]
    highest: dict[str, list[float]]
    areas: dict[str, float]


@dataclass(frozen=True)
class WavExplanation:
    """A recording, explained.

    :param features: (T, F) of the model's front-end, its padding left out.
    :param value: the explained quantity, ``baseline_value`` that of the baseline.
    :param curves: relevance of each duration that has a window, and ``fused``.
    :param segments: intervals in seconds, by what they are (``speech``, ``evidence``); each is a row of the picture.
    :param order: the curve whose order is tried.
    :param tried: by order.
    """

    name: str
    seconds: float
    features: FloatArray
    request: Request
    value: float
    baseline_value: float
    curves: dict[str, Curve]
    completeness: dict[str, Completeness]
    segments: dict[str, list[Span]]
    order: str
    tried: dict[str, Tried]

    @property
    def quantity(self) -> str:
        """In words."""
        explained = self.request.explained
        return explained.quantity if explained.quantity in TEMPERATURES else "cosine"

    def fields(self) -> dict[str, Any]:
        """The numbers, ready for JSON; relevance to four digits, null where no window lay."""
        relevance = {
            name: [round(float(v), 4) if c else None for v, c in zip(curve.values, curve.covered, strict=True)]
            for name, curve in self.curves.items()
        }
        return {
            "wav": self.name,
            "seconds": self.seconds,
            "quantity": self.quantity,
            "temperature": self.request.explained.temperature if self.quantity in TEMPERATURES else None,
            "target": self.request.about,
            "baseline": self.request.explained.baseline,
            "value": self.value,
            "baseline_value": self.baseline_value,
            "completeness": {name: vars(one) for name, one in self.completeness.items()},
            "relevance": relevance,
            "segments": self.segments,
            "fractions": list(FRACTIONS),
            "ordered_by": self.order,
            "orders": {name: {"curves": one.curves, "areas": one.areas} for name, one in self.tried.items()},
        }


def explain_waveform(
    model: SpeakerModel,
    name: str,
    waveform: Tensor,
    request: Request,
    progress: Progress | None = None,
) -> WavExplanation:
    """Explain a recording, (samples,) at the model's rate.

    :raises UserError: for a recording that is too short, a target that the model does not know, NaN.
    """
    rate, config = model.frontend.sample_rate, request.relevance
    windows = windows_of(name, waveform, rate, config)
    frames = num_frames(len(waveform), rate)
    whole = Segment(name, 0, frames)
    engine = IntegratedGradients(model, config.integration(), request.explained.measured(), request.baseline)
    target = model.embed(cut_out(waveform, whole, rate)) if request.target is None else request.target
    found = _explained(engine, name, waveform, target, distinct(windows), progress)
    relevance = {key: frame_relevance(one.map[None], config)[0].numpy() for key, one in found.items()}
    curves = curves_of(windows, relevance, frames)
    features = model.frontend(cut_out(waveform, whole, rate))
    probe = Probe(features, request.fill(features, frames), frames)
    if whole.id in found:
        order, scores = FULL, relevance_scores(found[whole.id].map, "frame", config)
    else:
        order, scores = FUSED, torch.from_numpy(curves[FUSED].values)
    value, baseline_value = _values(engine, name, probe, target)
    return WavExplanation(
        name=name,
        seconds=len(waveform) / rate,
        features=features[:frames].numpy(),
        request=request,
        value=value,
        baseline_value=baseline_value,
        curves=curves,
        completeness={key: _worst([found[w.id] for w in own]) for key, own in windows.items() if own},
        segments=segments_of(speech_marks(waveform, rate), curves[order].values, config.evidence),
        order=order,
        tried=_tried(engine, name, probe, target, scores, request),
    )


def windows_of(name: str, waveform: Tensor, sample_rate: int, config: RelevanceConfig) -> dict[str, list[Segment]]:
    """Windows of each duration that stage 3 would lay over the recording.

    :raises UserError: where there are none.
    """
    frames = num_frames(len(waveform), sample_rate)
    if frames < SHORTEST:
        raise UserError(f"{name}: {frames} frames of 10 ms, fewer than {SHORTEST}: give a longer recording")
    speech = {name: speech_marks(waveform, sample_rate)}
    windows = curve_windows(name, frames, speech, config.segments, config.full)
    if not any(windows.values()):
        raise UserError(f"{name}: no duration fits, or none holds speech: shorten segments.durations, or set full=true")
    return windows


def speech_marks(waveform: Tensor, sample_rate: int) -> FloatArray:
    """(T,) 1.0 for speech, by the detector of stage 1 with its defaults."""
    frontend = LogMel(FbankConfig(sample_rate=sample_rate, high_freq=min(7600.0, sample_rate / 2)))
    marks: FloatArray = speech_frames(frontend.with_energy(waveform)[:, 0].numpy(), ActivityConfig())
    return marks


def segments_of(speech: FloatArray, relevance: FloatArray, config: EvidenceConfig) -> dict[str, list[Span]]:
    """Runs of speech and of evidence (``evidence``), start and end in seconds.

    :param speech: (T,) marks; ``relevance``: (T,) curve, whose evidence is at least ``minimum`` long, or 0.1 s.
    """
    lasting = replace(config, minimum=config.minimum or SHORTEST_EVIDENCE)
    marks = {"speech": speech > 0, "evidence": find_evidence([relevance], lasting)[0][0]}
    return {
        kind: [(start / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND) for start, end in runs_of(one)]
        for kind, one in marks.items()
    }


def _explained(
    engine: IntegratedGradients,
    name: str,
    waveform: Tensor,
    target: Target,
    windows: Sequence[Segment],
    progress: Progress | None,
) -> dict[str, Attribution]:
    """Attributions of the windows, by their ids; the front-end's padding is left out of the maps."""
    frontend = engine.model.frontend
    asked = (
        Utterance(name, frontend(cut_out(waveform, window, frontend.sample_rate)), target, window.frames)
        for window in windows
    )
    found = {}
    for window, one in zip(windows, engine.explain(asked), strict=True):
        found[window.id] = replace(one, map=one.map[: window.frames].float())
        if progress:
            progress.update()
    return found


def _worst(found: Sequence[Attribution]) -> Completeness:
    worst = max(found, key=lambda one: one.error)
    return Completeness(len(found), max(one.nodes for one in found), worst.error, worst.converged)


def _values(engine: IntegratedGradients, name: str, probe: Probe, target: Target) -> tuple[float, float]:
    """The quantity of the recording and of its baseline."""
    points = torch.stack([probe.features, engine.baseline(probe.features, probe.frames)])
    wanted = engine.quantity.target(engine.model, target, name)
    lengths = torch.full((2,), len(probe.features))
    value, baseline_value = engine.function.values(points, lengths, wanted.expand(2, *wanted.shape)).tolist()
    return value, baseline_value


def _tried(
    engine: IntegratedGradients, name: str, probe: Probe, target: Target, scores: Tensor, request: Request
) -> dict[str, Tried]:
    """Insertion and deletion by relevance, by energy and in drawn orders."""
    energy = energy_scores(probe.features[: probe.frames], "frame")
    drawn = [random_scores(energy.shape, request.seed + draw, name) for draw in range(request.draws)]
    orders = [ranks(one) for one in (scores, energy, *drawn)]
    wanted = engine.quantity.target(engine.model, target, name)

    def read(output: SpeakerOutput) -> Tensor:
        return engine.quantity(output, wanted.expand(len(output.embedding), *wanted.shape))

    found = answers(engine.model, probe, orders, read).double().numpy()
    return {RELEVANCE: _of(found[:1]), ENERGY: _of(found[1:2]), RANDOM: _of(found[2:])}


def _of(found: Floats) -> Tried:
    """The mean over orders, (orders, modes, fractions), and its bounds."""
    mean, lowest, highest, areas = (
        dict(zip(MODES, one.tolist(), strict=True))
        for one in (found.mean(0), found.min(0), found.max(0), area(found.mean(0)))
    )
    return Tried(mean, lowest, highest, areas)
