"""What happens to a voice on its way to the file: vocal-tract length, breath, room, channel, noise, level.

Everything on the signal path is exact integer arithmetic (fixed-point taps, sums that cannot overflow), so a sample
is the same on every processor: no BLAS, no FFT, no transcendental function. The few tables made with ``math`` are
rounded far from a tie (a test proves it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imlkd.corpora.minivox.draws import Draws

IntArray = npt.NDArray[np.int32]

SAMPLE_RATE = 16000
TAPS, PHASES = 16, 128
NOISES = ("hiss", "pink", "rumble", "hum", "chatter")


def interpolation_table() -> IntArray:
    """Taps (PHASES, TAPS) of a Hann-windowed sinc, scaled by 2**13; each row sums to nearly 8192.

    The cut-off is 0.34 of the input rate: 7.5 kHz for espeak's 22.05 kHz.
    """
    rows = []
    for phase in range(PHASES):
        positions = [k - (TAPS // 2 - 1) - phase / PHASES for k in range(TAPS)]
        rows.append([round(8192 * _windowed_sinc(position)) for position in positions])
    return np.array(rows, dtype=np.int32)


def _windowed_sinc(x: float) -> float:
    width = 0.68
    sinc = 1.0 if x == 0 else math.sin(math.pi * width * x) / (math.pi * width * x)
    return width * sinc * 0.5 * (1 + math.cos(math.pi * x / (TAPS // 2)))


_TABLE = interpolation_table()


def resample(signal: IntArray, rate: int) -> IntArray:
    """Bring 16-bit samples (n,) taken at ``rate`` (Hz) to 16 kHz: about n * 16000 / rate samples.

    A ``rate`` other than the true one scales all frequencies, as a shorter or longer vocal tract does.
    """
    padded = np.concatenate([np.zeros(TAPS, np.int32), signal.astype(np.int32), np.zeros(TAPS, np.int32)])
    count = len(signal) * SAMPLE_RATE // rate
    position = np.arange(count, dtype=np.int64) * rate * PHASES // SAMPLE_RATE
    start = position // PHASES + TAPS // 2 + 1
    phase = position % PHASES
    total = np.zeros(count, np.int32)
    for tap in range(TAPS):
        total += padded[start + tap] * _TABLE[phase, tap]
    return _within_16_bits(total >> 13)


def _within_16_bits(signal: IntArray) -> IntArray:
    return np.minimum(np.maximum(signal, np.int32(-32768)), np.int32(32767))


def sparse_fir(signal: IntArray, taps: dict[int, int], shift: int) -> IntArray:
    """``sum(gain * signal[t - delay]) >> shift`` for {delay (samples): gain}, held within 16 bits; same length.

    :param signal: 16-bit values (n,).
    :raises ValueError: when such a signal could overflow the 32-bit sum.
    """
    if sum(map(abs, taps.values())) > 0xFFFF:
        raise ValueError("taps too large for exact 32-bit sums")
    total = np.zeros(len(signal), np.int32)
    for delay, gain in taps.items():
        total[delay:] += signal[: max(len(signal) - delay, 0)] * np.int32(gain)
    return _within_16_bits(total >> shift)


def moving_mean(signal: IntArray, width: int) -> IntArray:
    """Mean of the last ``width`` samples, floored; same length, zeros before the start."""
    summed = np.cumsum(signal, dtype=np.int64)
    summed[width:] = summed[width:] - summed[:-width]
    return (summed // width).astype(np.int32)


def add_breath(signal: IntArray, percent: int, draws: Draws) -> IntArray:
    """Aspiration noise that follows the loudness of the voice; ``percent`` of its envelope."""
    if percent == 0:
        return signal
    envelope = moving_mean(np.abs(signal), 160)
    noise = draws.noise(len(signal))
    noise[1:] -= noise[:-1].copy()
    return _within_16_bits(signal + ((envelope * percent // 100) * (noise >> 4) >> 9))


def room(draws: Draws, decay_ms: int) -> dict[int, int]:
    """A sparse impulse response of 2**12 times {delay: gain}: direct sound, early echoes, a decaying tail.

    :param decay_ms: time in which the tail falls by about 26 dB (to a twentieth).
    """
    taps = {0: 4096}
    level = draws.integer(1100, 2300)
    step = max(decay_ms * SAMPLE_RATE // 1000 // 24, 8)
    for segment in range(32):
        delay = 24 + segment * step // 2 + draws.integer(0, step // 2 - 1)
        gain = level * draws.integer(40, 100) // 100
        taps[delay] = gain if draws.integer(0, 1) else -gain
        level = level * 15 // 16
    return taps


def channel(draws: Draws, strength: int) -> dict[int, int]:
    """A microphone's colour: 2**12 times {delay: gain}, seven short echoes of at most ``strength`` percent."""
    taps = {0: 4096}
    for delay in range(1, 8):
        taps[delay] = draws.around(0, 4096 * strength // 100) * (9 - delay) // 8
    return taps


def noise_like(kind: str, samples: int, draws: Draws, colour: Draws) -> IntArray:
    """Background noise (samples,) of the kind named; ``colour`` draws what belongs to the place, not the moment."""
    white = draws.noise(samples)
    if kind == "hiss":
        return white - moving_mean(white, colour.integer(2, 12))
    pink = white // 2 + 2 * moving_mean(white, 4) + 4 * moving_mean(white, 16) + 8 * moving_mean(white, 64)
    if kind == "pink":
        return pink
    if kind == "rumble":
        return white // 16 + 8 * moving_mean(white, colour.integer(16, 64))
    if kind == "hum":
        return pink // 2 + _hum(samples, colour.integer(90, 130), draws.integer(0, 400))
    if kind == "chatter":
        coloured = 4 * moving_mean(white, 8) - 3 * moving_mean(white, 40)
        return coloured * (_swell(samples, draws) >> 4) >> 8
    raise ValueError(f"unknown noise {kind!r}")


def _hum(samples: int, period: int, offset: int) -> IntArray:
    """A saw-tooth of ``period`` samples, smoothed: all harmonics of a motor."""
    phase = (np.arange(samples, dtype=np.int32) + offset) % period
    return moving_mean((phase - period // 2) * (24000 // period), 6)


def _swell(samples: int, draws: Draws) -> IntArray:
    """A slowly moving gain between 0 and 4096, one new value every 100 ms, straight lines between."""
    step = SAMPLE_RATE // 10
    knots = np.array([draws.integer(400, 4096) for _ in range(samples // step + 2)], dtype=np.int32)
    ramp = np.arange(step, dtype=np.int32)
    lines = knots[:-1, None] * (step - ramp) + knots[1:, None] * ramp
    return (lines // step).reshape(-1)[:samples].astype(np.int32)


def power(signal: IntArray) -> int:
    """Sum of squares, exact."""
    wide = signal.astype(np.int64)
    return int((wide * wide).sum())


# 1000 * 10 ** (dB / 10) for 0 to 40 dB
POWER_RATIO = [round(1000 * 10 ** (decibel / 10)) for decibel in range(41)]


def noise_gain(speech: IntArray, noise: IntArray, snr_db: int) -> int:
    """2**16 times the factor that puts ``noise`` ``snr_db`` decibels (0-40) below ``speech``."""
    return math.isqrt((power(speech) * 1000 << 32) // (max(power(noise), 1) * POWER_RATIO[snr_db]))


def to_level(signal: IntArray, rms: int) -> npt.NDArray[np.int16]:
    """Scale to the root mean square ``rms`` (16-bit units), lower where a peak would exceed 32,000."""
    current = max(math.isqrt(power(signal) // max(len(signal), 1)), 1)
    peak = max(int(np.abs(signal).max(initial=0)), 1)
    gain = min((rms << 20) // current, (32000 << 20) // peak)
    return (signal.astype(np.int64) * gain >> 20).astype(np.int16)


@dataclass(frozen=True)
class Place:
    """Where and through what one recording was made."""

    room: dict[int, int]
    channel: dict[int, int]
    noise: str
    snr_db: int
    rms: int


def record(voice: IntArray, place: Place, draws: Draws, colour: Draws) -> npt.NDArray[np.int16]:
    """The microphone's 16-bit samples of a dry 16 kHz ``voice`` (n,) at ``place``; same length."""
    speech = sparse_fir(sparse_fir(voice, place.room, 13), place.channel, 13)
    noise = noise_like(place.noise, len(speech), draws, colour)
    gain = noise_gain(speech, noise, place.snr_db)
    mixed = speech.astype(np.int64) * 65536 + noise.astype(np.int64) * gain >> 16
    return to_level(mixed.astype(np.int32), place.rms)
