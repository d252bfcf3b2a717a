"""Energy-based speech activity, Kaldi's rule (compute-vad)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imlkd.config import bounded


@dataclass(frozen=True)
class ActivityConfig:
    """Options of Kaldi's compute-vad; the defaults are those of Kaldi's speaker recipes."""

    energy_threshold: float = bounded(5.5, help="added to the scaled mean log energy")
    energy_mean_scale: float = bounded(0.5, low=0.0, high=10.0, help="factor of the mean log energy")
    frames_context: int = bounded(2, low=0, high=100, help="frames on each side")
    proportion_threshold: float = bounded(0.12, low=0.0, high=1.0, help="share of the context above the threshold")


def speech_frames(log_energy: npt.NDArray[np.float32], config: ActivityConfig) -> npt.NDArray[np.float32]:
    """1.0 for speech and 0.0 for silence, (T,); ``log_energy`` is (T,) on Kaldi's int16 scale.

    A frame is speech when at least ``proportion_threshold`` of the frames around it exceed
    ``energy_threshold + energy_mean_scale * mean(log_energy)`` (Kaldi, ivector/voice-activity-detection).
    """
    threshold = config.energy_threshold + config.energy_mean_scale * float(log_energy.mean())
    above = np.concatenate([[0.0], np.cumsum(log_energy > threshold)])
    frames = np.arange(len(log_energy))
    first = np.maximum(frames - config.frames_context, 0)
    last = np.minimum(frames + config.frames_context + 1, len(log_energy))
    share = (above[last] - above[first]) / (last - first)
    marks: npt.NDArray[np.float32] = (share >= config.proportion_threshold).astype(np.float32)
    return marks
