"""Front-ends of published teachers, with their numbers: SpeechBrain's mel bands, and Kaldi's with snipped edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.config import bounded, chosen
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND, INT16_SCALE

WINDOW_SECONDS = 0.025
FLOOR, RANGE = 1e-10, 80.0  # smallest power, and dB below the loudest value of the utterance


@dataclass(frozen=True)
class SpeechbrainMelConfig:
    """Front-end of SpeechBrain's speaker models: its ``Fbank`` with its defaults."""

    sample_rate: int = bounded(16000, low=8000, high=48000, help="of all audio, Hz")
    num_mel_bins: int = bounded(80, low=8, high=256, help="mel bands")
    low_freq: float = bounded(0.0, low=0.0, help="lower edge of the bands, Hz")
    high_freq: float = bounded(8000.0, low=100.0, help="upper edge of the bands, Hz")


class SpeechbrainMel:
    """Waveform (samples,) in [-1, 1) -> (1 + samples // hop, bins) in dB, frame t centred on sample t x hop.

    Hamming window, zeros beyond both ends, triangles on the scale 2595 log10(1 + f / 700) that reach as far to either
    side as the band below is wide, 80 dB of range an utterance (SpeechBrain 1.1, ``lobes.features.Fbank``).
    """

    def __init__(self, config: SpeechbrainMelConfig) -> None:
        self.config = config
        self.hop, self.size = config.sample_rate // FRAMES_PER_SECOND, round(config.sample_rate * WINDOW_SECONDS)
        low, high = (2595.0 * math.log10(1.0 + edge / 700.0) for edge in (config.low_freq, config.high_freq))
        edges = 700.0 * (10.0 ** (torch.linspace(low, high, config.num_mel_bins + 2) / 2595.0) - 1.0)
        slope = torch.linspace(0, config.sample_rate // 2, self.size // 2 + 1)[:, None] - edges[1:-1]
        slope = slope / (edges[1:-1] - edges[:-2])
        self.filters = torch.minimum(slope + 1.0, 1.0 - slope).clamp(min=0.0)
        self.window = torch.hamming_window(self.size)

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def dim(self) -> int:
        return self.config.num_mel_bins

    def __call__(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform, self.size, self.hop, window=self.window, center=True, pad_mode="constant", return_complex=True
        )
        decibels = 10.0 * torch.log10((spectrum.abs().square().T @ self.filters).clamp(min=FLOOR))
        return torch.maximum(decibels, decibels.amax() - RANGE)


@dataclass(frozen=True)
class SnippedFbankConfig:
    """Kaldi's log mel with snipped edges, as wespeaker and 3D-Speaker call it."""

    sample_rate: int = bounded(16000, low=8000, high=48000, help="of all audio, Hz")
    num_mel_bins: int = bounded(80, low=8, high=256, help="mel bands")
    window: str = chosen("hamming", ("hamming", "povey"), help="wespeaker: hamming, 3D-Speaker: povey")
    scale: float = bounded(INT16_SCALE, low=1.0, high=INT16_SCALE, help="of the samples, 3D-Speaker: 1")


class SnippedLogMel:
    """Waveform (samples,) in [-1, 1) -> (T, bins), 10 ms a frame, the first and the last frame there twice.

    Windows that fit wholly into the audio are two fewer than its frames; a network drops ``edge`` frames at either end
    again, so that frame t of its input stays around sample t x hop.
    """

    edge = 1

    def __init__(self, config: SnippedFbankConfig) -> None:
        self.config = config

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def dim(self) -> int:
        return self.config.num_mel_bins

    def __call__(self, waveform: Tensor) -> Tensor:
        from torchaudio.compliance import kaldi

        needed = round(self.sample_rate * WINDOW_SECONDS)
        if len(waveform) < needed:
            raise UserError(f"audio of {len(waveform)} samples: the front-end of this model needs {needed} or more")
        whole: Tensor = kaldi.fbank(
            waveform.unsqueeze(0) * self.config.scale,
            sample_frequency=self.sample_rate,
            num_mel_bins=self.config.num_mel_bins,
            window_type=self.config.window,
            dither=0.0,
        )
        return functional.pad(whole.T[None], (self.edge, self.edge), mode="replicate")[0].T
