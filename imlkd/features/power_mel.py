"""The front-end of the GE2E speaker encoder: 40 linear-power mel bands, handed on as their logarithm.

The numbers are those of the PyPI package Resemblyzer 0.1.4, which takes the bands from
``librosa.feature.melspectrogram`` (0.11: Slaney's scale and areas, zeros beyond both ends).
"""

from __future__ import annotations

import torch
import torchaudio.functional as audio
from torch import Tensor

from imlkd.errors import UserError

SAMPLE_RATE = 16000  # Hz
HOP = 160  # samples: 10 ms
FFT = 400  # samples: 25 ms, also the length of the Hann window
BANDS = 40
WINDOW = 160  # frames the encoder reads at a time: 1.6 s
STEP = 77  # frames from one window to the next: 1.3 windows a second
COVERED = 120  # hops of the last window that must hold samples: 75 %
TARGET_LEVEL = -30.0  # dB relative to full scale
FLOOR = 1e-6  # power below which the logarithm flattens; silence becomes log(FLOOR)


class PowerMel:
    """Waveform to log(power mel + FLOOR), level raised and end padded as the encoder's windows need it.

    The logarithm is a change of coordinates only: ``mel_power`` gives the linear bands back, and a path of Integrated
    Gradients between two log spectrograms completes where one in linear power does not.
    """

    dim = BANDS
    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        self.window = torch.hann_window(FFT)
        self.filters = audio.melscale_fbanks(
            FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, BANDS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )

    def __call__(self, waveform: Tensor) -> Tensor:
        """(samples,) in [-1, 1) at 16 kHz -> (frames, 40), frame t centred on sample 160 t, at least 161 frames.

        Raises UserError when the waveform is not one channel of at least one sample.
        """
        if waveform.ndim != 1 or not len(waveform):
            raise UserError(f"audio of shape {tuple(waveform.shape)}: expected one channel of at least one sample")
        padding = padded_samples(len(waveform)) - len(waveform)
        return log_power(self.mel(torch.nn.functional.pad(raise_level(waveform), (0, padding))))

    def mel(self, waveform: Tensor) -> Tensor:
        """(samples,) -> (1 + samples // 160, 40) linear power; zeros beyond both ends, Slaney's mel scale and areas."""
        window, filters = self.window.to(waveform.device), self.filters.to(waveform.device)
        power = audio.spectrogram(
            waveform, 0, window, FFT, HOP, FFT, power=2.0, normalized=False, center=True, pad_mode="constant"
        )
        mel: Tensor = power.T @ filters
        return mel


def log_power(mel: Tensor) -> Tensor:
    """Linear mel power -> what the front-end returns, any shape."""
    return torch.log(mel + FLOOR)


def mel_power(features: Tensor) -> Tensor:
    """The inverse of ``log_power``; differentiable."""
    return torch.exp(features) - FLOOR


def raise_level(waveform: Tensor) -> Tensor:
    """Raise the mean power to -30 dBFS; leave a louder waveform, and digital silence, as they are."""
    level = waveform.double().square().mean().sqrt()
    gain = 10 ** (TARGET_LEVEL / 20) / level
    return waveform * gain.to(waveform.dtype) if 1 < gain < float("inf") else waveform


def window_count(frames: int) -> int:
    """Windows of an utterance of ``frames`` frames: the first always, another every 77 while 75 % of it is covered.

    n hops of samples give n + 1 frames, hence the strict comparison of frames.
    """
    return 1 + max(0, frames - COVERED - 1) // STEP


def padded_samples(samples: int) -> int:
    """Length in samples that holds every window of an utterance of ``samples`` samples."""
    last = (window_count(samples // HOP + 1) - 1) * STEP
    return max(samples, (last + WINDOW) * HOP)
