"""Which frames hold speech, by one of three detectors: energy (Kaldi's rule), Silero's network, marks of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from imlkd.config import bounded
from imlkd.errors import UserError
from imlkd.features.activity import ActivityConfig, Segmenter, speech_frames
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.kaldi_io import read_array, read_table

if TYPE_CHECKING:
    from torch import Tensor

Marks = npt.NDArray[np.float32]
DETECTORS = ("energy", "silero", "given")
MAX_FRAMES_OFF = 3  # Kaldi's default front-end drops up to two frames at the edges


@dataclass(frozen=True)
class SileroConfig:
    """Silero's detector (package silero-vad, weights in its wheel); all other settings are its own."""

    threshold: float = bounded(0.5, low=0.01, high=0.99, help="probability of speech")
    min_speech: float = bounded(0.25, low=0.0, high=10.0, help="seconds; shorter stretches of speech are dropped")
    min_silence: float = bounded(0.1, low=0.0, high=10.0, help="seconds; shorter pauses are speech")
    padding: float = bounded(0.03, low=0.0, high=1.0, help="seconds added on both sides")


class Detector(Protocol):
    """Marks the frames of an utterance."""

    def __call__(self, name: str, waveform: Tensor, log_energy: Marks) -> Marks:
        """1.0 for speech and 0.0 for silence, as many as ``log_energy`` has frames.

        :param waveform: (samples,) float32 in [-1, 1).
        :param log_energy: (T,) on Kaldi's int16 scale.
        """


def build_detector(
    name: str, activity: ActivityConfig, silero: SileroConfig, vad_scp: str, sample_rate: int,
    segmenter: Segmenter | None = None,
) -> Detector:  # fmt: skip
    """The detector of this name.

    :param vad_scp: scp files of marks, separated by commas, for ``given``.
    :param segmenter: finds speech segments, if ``activity.segments`` wants any, for ``energy``.
    :raises UserError: when its package or its files are not there, or the rate does not fit.
    """
    if name == "silero":
        return Silero(silero, sample_rate)
    if name == "given":
        return Given(vad_scp)
    return Energy(activity, segmenter)


class Energy:
    """Kaldi's compute-vad, or segments of minimum duration from the same energies."""

    def __init__(self, config: ActivityConfig, segmenter: Segmenter | None = None) -> None:
        self.config, self.segmenter = config, segmenter

    def __call__(self, name: str, waveform: Tensor, log_energy: Marks) -> Marks:
        return speech_frames(log_energy, self.config, self.segmenter)


class Silero:
    """Silero's stretches of speech; a frame is speech when its middle lies in one. Runs through onnxruntime."""

    def __init__(self, config: SileroConfig, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        if sample_rate not in (8000, 16000):
            raise UserError(f"detector: silero: hears 8000 or 16000 Hz, not {sample_rate}: take energy")
        self.package, self.model = _silero()

    def __call__(self, name: str, waveform: Tensor, log_energy: Marks) -> Marks:
        stretches = self.package.get_speech_timestamps(
            waveform,
            self.model,
            threshold=self.config.threshold,
            sampling_rate=self.sample_rate,
            min_speech_duration_ms=round(1000 * self.config.min_speech),
            min_silence_duration_ms=round(1000 * self.config.min_silence),
            speech_pad_ms=round(1000 * self.config.padding),
        )
        return marks_of([(one["start"], one["end"]) for one in stretches], len(log_energy), self.sample_rate)


class Given:
    """Marks that somebody made: Kaldi's ``vad.scp``, one value a frame of 10 ms, not 0 for speech."""

    def __init__(self, vad_scp: str) -> None:
        paths = [Path(part) for part in vad_scp.split(",") if part]
        if not paths:
            raise UserError("detector: given: needs vad_scp, the scp of the marks: set it, or take energy")
        self.where = vad_scp
        self.places: Mapping[str, str] = {
            key: value for path in paths for key, value in read_table(path, fields=2, sorted_ids=False).items()
        }

    def __call__(self, name: str, waveform: Tensor, log_energy: Marks) -> Marks:
        if name not in self.places:
            raise UserError(f"{self.where}: no marks of {name}: add them, or take another detector (features.yaml)")
        marks = (read_array(self.places[name]) != 0).astype(np.float32)
        if marks.ndim != 1 or not len(marks) or abs(len(marks) - len(log_energy)) > MAX_FRAMES_OFF:
            raise UserError(
                f"{self.where}: {name} has {marks.shape} marks, its audio {len(log_energy)} frames of 10 ms: make them "
                "again on this audio"
            )
        return np.pad(marks, (0, max(0, len(log_energy) - len(marks))), mode="edge")[: len(log_energy)]


def marks_of(stretches: list[tuple[int, int]], frames: int, sample_rate: int) -> Marks:
    """(frames,): 1.0 where the middle of a frame lies in a stretch of samples [first, end)."""
    marks = np.zeros(frames, np.float32)
    hop = sample_rate // FRAMES_PER_SECOND
    for first, end in stretches:
        marks[_frame_at(first, hop) : _frame_at(end, hop)] = 1.0
    return marks


def _frame_at(sample: int, hop: int) -> int:
    """The first frame whose middle, ``t * hop + hop // 2``, is not before ``sample``."""
    return max(0, -(-(sample - hop // 2) // hop))


def _silero() -> tuple[Any, Any]:
    """The package and its network."""
    try:
        import silero_vad
    except ImportError:
        raise UserError(
            "detector: silero: its package is missing: `pip install --no-deps silero-vad==6.2.3`, or take energy"
        ) from None
    import torch

    threads = torch.get_num_threads()
    model = silero_vad.load_silero_vad(onnx=True)
    torch.set_num_threads(threads)  # its import sets them to one
    return silero_vad, model
