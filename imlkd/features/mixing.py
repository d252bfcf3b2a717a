"""Sounds added to speech, and rooms around it. Output samples stay where the input's are."""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.functional import add_noise, fftconvolve


def rms(waveform: Tensor) -> Tensor:
    """Root mean square, a scalar."""
    return waveform.square().mean().sqrt()


def with_noise(speech: Tensor, noise: Tensor, snr: float) -> Tensor:
    """(samples,) + (samples,) scaled so that the energies are ``snr`` dB apart; a silent one changes nothing."""
    if not bool(speech.any()) or not bool(noise.any()):
        return speech
    mixed: Tensor = add_noise(speech.double(), noise.double(), torch.tensor(snr, dtype=torch.float64))
    return mixed.to(speech.dtype)


def babble(voices: list[Tensor]) -> Tensor:
    """Voices of one length together, each at the same level."""
    together: Tensor = torch.stack([voice / rms(voice).clamp_min(1e-8) for voice in voices]).sum(0)
    return together


def in_room(speech: Tensor, response: Tensor) -> Tensor:
    """Speech (samples,) through a room, as long and as loud as before.

    :param response: (taps,) from the direct sound on, so that the direct sound stays where it is.
    """
    wet: Tensor = fftconvolve(speech, response)[: len(speech)]
    level = rms(wet)
    return wet * (rms(speech) / level) if float(level) > 0 else speech
