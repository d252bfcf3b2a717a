"""Energy-based speech activity: Kaldi's rule (compute-vad), or segments of minimum duration from the same energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imlkd.config import bounded, chosen
from imlkd.features.fbank import FRAMES_PER_SECOND

Marks = npt.NDArray[np.float32]
# imlkd.attribution.segments.speech_marks: log-odds (T,), frames of speech and of silence, penalty, backend -> (T,)
Segmenter = Callable[[npt.ArrayLike, int, int, float, str], Marks]


@dataclass(frozen=True)
class SpeechSegmentsConfig:
    """Speech as segments of minimum duration, in place of Kaldi's context and proportion."""

    minimum: float = bounded(0.0, low=0.0, high=60.0, help="shortest speech, seconds; 0: Kaldi's rule, no segments")
    silence: float = bounded(0.3, low=0.01, high=60.0, help="shortest silence, seconds")
    penalty: float = bounded(2.0, low=0.0, high=32.0, help="nats that each switch costs")
    scale: float = bounded(1.0, low=0.001, high=100.0, help="log-odds of speech, a nat of energy above the threshold")
    backend: str = chosen("auto", ("auto", "k2", "numpy"), help="what computes them; the results are the same")


@dataclass(frozen=True)
class ActivityConfig:
    """Options of Kaldi's compute-vad; the defaults are those of Kaldi's speaker recipes."""

    energy_threshold: float = bounded(5.5, help="added to the scaled mean log energy")
    energy_mean_scale: float = bounded(0.5, low=0.0, high=10.0, help="factor of the mean log energy")
    frames_context: int = bounded(2, low=0, high=100, help="frames on each side")
    proportion_threshold: float = bounded(0.12, low=0.0, high=1.0, help="share of the context above the threshold")
    segments: SpeechSegmentsConfig = field(default_factory=SpeechSegmentsConfig)


def speech_frames(
    log_energy: npt.NDArray[np.float32], config: ActivityConfig, segmenter: Segmenter | None = None
) -> Marks:
    """1.0 for speech and 0.0 for silence, (T,); ``log_energy`` is (T,) on Kaldi's int16 scale.

    A frame is speech when at least ``proportion_threshold`` of the frames around it exceed
    ``energy_threshold + energy_mean_scale * mean(log_energy)`` (Kaldi, ivector/voice-activity-detection).

    With ``segments.minimum``, ``segmenter`` finds segments: a frame's log-odds are ``segments.scale`` times its energy
    less that threshold.
    """
    threshold = config.energy_threshold + config.energy_mean_scale * float(log_energy.mean())
    if config.segments.minimum > 0:
        return _speech_segments(log_energy - np.float32(threshold), config.segments, segmenter)
    above = np.concatenate([[0.0], np.cumsum(log_energy > threshold)])
    frames = np.arange(len(log_energy))
    first = np.maximum(frames - config.frames_context, 0)
    last = np.minimum(frames + config.frames_context + 1, len(log_energy))
    share = (above[last] - above[first]) / (last - first)
    marks: Marks = (share >= config.proportion_threshold).astype(np.float32)
    return marks


def _speech_segments(above: Marks, config: SpeechSegmentsConfig, segmenter: Segmenter | None) -> Marks:
    if segmenter is None:
        raise ValueError("segments.minimum needs a segmenter: imlkd.attribution.segments.speech_marks")
    speech, silence = (max(1, round(seconds * FRAMES_PER_SECOND)) for seconds in (config.minimum, config.silence))
    return segmenter(config.scale * above, speech, silence, config.penalty, config.backend)
