"""What lines, codecs and recorders do to speech: telephone band, codecs, level, clipping. Samples stay in place.

Codecs run through libsndfile: G.711 is the standard's own, to the bit.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

TELEPHONE_RATE = 8000
TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712
_EDGE = 100.0  # Hz over which the band's edges fall
# name -> libsndfile's format, subtype
TELEPHONE_CODECS = {"ulaw": ("WAV", "ULAW"), "alaw": ("WAV", "ALAW"), "gsm": ("WAV", "GSM610")}
CODECS = {"vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}


def telephone(waveform: Tensor, sample_rate: int, codec: str) -> Tensor:
    """(samples,) as a telephone line gives it back: 300 to 3400 Hz, 8 kHz, coded, at the old rate again."""
    from torchaudio.functional import resample

    narrow = resample(band_limited(waveform, sample_rate, *TELEPHONE_BAND), sample_rate, TELEPHONE_RATE)
    coded = through_codec(narrow, TELEPHONE_RATE, *TELEPHONE_CODECS[codec])
    wide = resample(coded, TELEPHONE_RATE, sample_rate)
    return _of_length(wide, len(waveform))


def coded(waveform: Tensor, sample_rate: int, codec: str) -> Tensor:
    """(samples,) through a codec of ``CODECS`` at the full band."""
    return _of_length(through_codec(waveform, sample_rate, *CODECS[codec]), len(waveform))


def band_limited(waveform: Tensor, sample_rate: int, low: float, high: float) -> Tensor:
    """Without what lies outside ``low`` to ``high`` Hz; without delay, by a mask over the spectrum."""
    spectrum = torch.fft.rfft(waveform)
    frequency = torch.fft.rfftfreq(len(waveform), 1 / sample_rate)
    mask = ((frequency - low) / _EDGE + 1).clamp(0, 1) * ((high - frequency) / _EDGE + 1).clamp(0, 1)
    limited: Tensor = torch.fft.irfft(spectrum * mask, len(waveform))
    return limited


def through_codec(waveform: Tensor, sample_rate: int, container: str, subtype: str) -> Tensor:
    """Encoded and decoded by libsndfile; as long as the codec's blocks make it, the input at its beginning."""
    import soundfile

    buffer = io.BytesIO()
    samples = waveform.clamp(-1, 1).numpy().astype(np.float32)
    soundfile.write(buffer, samples, sample_rate, format=container, subtype=subtype)
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    return torch.from_numpy(decoded)


def louder(waveform: Tensor, gain: float) -> Tensor:
    """Louder by ``gain`` dB."""
    return waveform * 10 ** (gain / 20)


def clipped(waveform: Tensor, headroom: float) -> Tensor:
    """As if recorded ``headroom`` dB too loud: cut at that much below the peak, the peak where it was."""
    peak = waveform.abs().max()
    limit = peak * 10 ** (-headroom / 20)
    return louder(waveform.clamp(-limit, limit), headroom) if float(peak) > 0 else waveform


def _of_length(waveform: Tensor, samples: int) -> Tensor:
    return torch.nn.functional.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
