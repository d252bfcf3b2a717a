"""Audio as a finished model hears it: one channel, the model's rate, long enough, not silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.corpora.audio import AudioProblem, Samples, Source, decode, named, open_audio
from imlkd.corpora.kaldi_dir import Segment
from imlkd.errors import UserError

SILENCE = 2.0 / 32768.0  # a range of two steps of 16-bit audio: what a muted microphone leaves
LOUDEST = 2.0  # floats beyond this are on the scale of 16-bit integers
SHORTEST_RATE, HIGHEST_RATE = 4000, 384000  # Hz that can be resampled


@dataclass(frozen=True)
class AudioOptions:
    """What is done with audio that is not as the model wants it; the default is to refuse it.

    :param resample: change another sampling rate to the model's.
    :param channel: which channel to take, from 1; None: only audio of one channel is taken.
    :param max_seconds: longer audio is refused, since memory grows with it.
    """

    resample: bool = False
    channel: int | None = None
    max_seconds: float = 600.0


STRICT = AudioOptions()


def read_audio(
    source: Source,
    sample_rate: int,
    options: AudioOptions = STRICT,
    content: bytes | None = None,
    segment: Segment | None = None,
) -> Samples:
    """Samples of one recording, or of one segment of it: (samples,) float32 in [-1, 1) at ``sample_rate`` (Hz).

    :param content: what a pipe put out, or standard input held.
    :raises AudioProblem: for a missing, damaged or too long file, and for channels or a rate that ``options`` refuse.
    """
    with open_audio(source, content) as file:
        first, end = (0, file.frames) if segment is None else segment.bounds(file.samplerate, file.frames)
        _check_bounds(source, first, end, file, options)
        channel = _channel(source, file.channels, options)
        samples = decode(file, source, first, end - first)
        rate = file.samplerate
    if samples.ndim == 2:
        samples = np.ascontiguousarray(samples[:, channel])
    return to_rate(samples, rate, sample_rate, options.resample, named(source))


def _check_bounds(source: Source, first: int, end: int, file: Any, options: AudioOptions) -> None:
    if not 0 <= first < end <= file.frames:
        what = f"has {file.frames} samples, its segment says {first} to {end}"
        raise AudioProblem(named(source), what, "mend segments")
    seconds = (end - first) / file.samplerate
    if seconds > options.max_seconds:
        what = f"{seconds:.0f} s long, allowed are {options.max_seconds:g} s"
        raise AudioProblem(named(source), what, "cut it, or raise --max-seconds (memory grows with it)")


def _channel(source: Source, channels: int, options: AudioOptions) -> int:
    if options.channel is None and channels != 1:
        remedy = f"choose one (`--channel 1` to {channels}), or mix them down"
        raise AudioProblem(named(source), f"{channels} channels, expected 1", remedy)
    if options.channel is not None and options.channel > channels:
        raise AudioProblem(named(source), f"no channel {options.channel}, it has {channels}", "choose another")
    return (options.channel or 1) - 1


def to_rate(samples: Samples, rate: int, wanted: int, resample: bool, place: str) -> Samples:
    """``samples`` at ``wanted`` Hz: as they are when ``rate`` is that already.

    Resampling is soxr's, "HQ". It cannot bring back what is above half of a lower rate: a model of 16 kHz hears
    telephone speech without its upper band, and no threshold was chosen on such audio.

    :raises AudioProblem: for another rate without ``resample``.
    """
    if rate == wanted:
        return samples
    if not resample:
        what = f"sampled at {rate} Hz, the model wants {wanted} Hz"
        raise AudioProblem(place, what, f"resample it (`sox IN -r {wanted} OUT`), or allow it with --resample")
    if not SHORTEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioProblem(place, f"sampled at {rate} Hz", "that is no rate of speech: make the file again")
    try:
        import soxr
    except ImportError:
        raise UserError("--resample needs the package soxr: `pip install '.[resample]'` in the checkout") from None
    resampled: Samples = soxr.resample(samples, rate, wanted, quality="HQ")
    return resampled


def as_samples(waveform: npt.ArrayLike, place: str) -> Samples:
    """A caller's array as (samples,) float32 in [-1, 1); 16-bit integers are brought to that scale.

    :raises AudioProblem: for another shape or type, NaN, infinite values, or floats on the scale of integers.
    """
    values = np.asarray(waveform)
    if values.ndim != 1:
        raise AudioProblem(place, f"a waveform of shape {values.shape}", "give one channel, shape (samples,)")
    if values.dtype == np.int16:
        return (values / np.float32(32768.0)).astype(np.float32)
    if values.dtype.kind != "f":
        raise AudioProblem(place, f"samples of type {values.dtype}", "give float in [-1, 1) or int16")
    samples = values.astype(np.float32)
    if not np.isfinite(samples).all():
        raise AudioProblem(place, "holds NaN or infinite samples", "make it again or remove it")
    if len(samples) and float(np.abs(samples).max()) > LOUDEST:
        raise AudioProblem(place, f"samples up to {np.abs(samples).max():.4g}", "scale to [-1, 1), or give int16")
    return samples


def check_audible(samples: Samples, sample_rate: int, min_samples: int, place: str) -> None:
    """Refuse what no speaker can be heard in.

    :raises AudioProblem: for fewer than ``min_samples`` samples, and for silence.
    """
    if len(samples) < max(min_samples, 1):
        seconds, least = len(samples) / sample_rate, min_samples / sample_rate
        raise AudioProblem(place, f"{seconds:.3f} s long, the model needs {least:.3f} s", "give a longer recording")
    if float(np.ptp(samples)) < SILENCE:
        raise AudioProblem(place, "silence: the samples are all the same", "record it again or remove it")
