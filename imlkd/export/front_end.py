"""Front-ends as modules that a graph can hold: framing by slices, the Fourier transform as a matrix product.

Each gives what the recipe's own front-end gives, to float precision, for a batch of equally long waveforms. Windows,
pre-emphasis and the scale of the samples are linear, so they are folded into the matrix of the transform; the mean of
each frame is taken away before, since digital silence with an offset would not cancel in single precision.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND, INT16_SCALE, LogMel
from imlkd.features.frontends import frontend_name
from imlkd.features.power_mel import COVERED, FFT, FLOOR, HOP, STEP, TARGET_LEVEL, WINDOW, PowerMel
from imlkd.features.teacher_fbanks import FLOOR as DECIBEL_FLOOR
from imlkd.features.teacher_fbanks import RANGE, WINDOW_SECONDS, SnippedLogMel, SpeechbrainMel
from imlkd.models.speaker_model import FrontEnd

PREEMPHASIS = 0.97
EPSILON = torch.finfo(torch.float32).eps  # smallest power of Kaldi's log mel
POVEY = 0.85  # power of a Hann window


class Power(nn.Module):
    """Frames (B, T, size) -> mel power (B, T, bands): a matrix product for the transform, one for the bands.

    The matrix of the transform is made from one turn of cosine and sine whenever it is needed: a runtime does that
    once, when it loads the graph, and the file is a megabyte smaller than with the matrix itself.

    :param window: (size,), times the scale of the samples; ``bank``: (points // 2 + 1, bands).
    :param preemphasis: of each frame, its first sample standing for the one before.
    """

    turn: Tensor
    window: Tensor
    bank: Tensor

    def __init__(self, window: Tensor, points: int, bank: Tensor, preemphasis: float = 0.0) -> None:
        super().__init__()
        used = torch.nonzero(bank.sum(1))[:, 0]
        self.first, self.last, self.preemphasis = int(used[0]), int(used[-1]) + 1, preemphasis
        angle = 2.0 * math.pi / points * torch.arange(points, dtype=torch.float64)
        self.register_buffer("turn", torch.stack([angle.cos(), -angle.sin()]).float())
        self.register_buffer("window", window.float())
        self.register_buffer("bank", bank[self.first : self.last].float().contiguous())

    def basis(self) -> Tensor:
        """(size, 2 x bins): what a frame is multiplied with, real parts before imaginary ones."""
        time = torch.arange(len(self.window))[:, None]
        place = time * torch.arange(self.first, self.last) % self.turn.shape[1]
        whole = torch.cat([self.turn[0][place], self.turn[1][place]], dim=1) * self.window[:, None]
        if not self.preemphasis:
            return whole
        after = functional.pad(whole[1:], (0, 0, 0, 1)) + whole * (time == 0)
        return whole - self.preemphasis * after

    def forward(self, frames: Tensor) -> Tensor:
        """The squares of both parts, summed by the bands' own product."""
        parts = frames @ self.basis()
        return (parts * parts) @ torch.cat([self.bank, self.bank])


def frames_of(padded: Tensor, count: int, size: int, hop: int) -> Tensor:
    """(B, samples) -> (B, count, size), one every ``hop``; there must be ``count - 1`` hops and ``size`` rounded up.

    Slices of rows of one hop: a gather of single samples takes longer than the transform.
    """
    rest = -(-size // hop) - 1
    rows = padded.narrow(1, 0, (count + rest) * hop).reshape(padded.shape[0], count + rest, hop)
    parts = [rows.narrow(1, i, count) for i in range(rest + 1)]
    return torch.cat([*parts[:-1], parts[-1][:, :, : size - rest * hop]], dim=2)


class KaldiMel(nn.Module):
    """Kaldi's log mel of frames of 25 ms: offset removed, pre-emphasis, window, power, triangles, logarithm."""

    def __init__(self, sample_rate: int, bands: int, low: float, high: float, window: str, scale: float) -> None:
        super().__init__()
        from torchaudio.compliance import kaldi

        self.hop, self.size = sample_rate // FRAMES_PER_SECOND, int(sample_rate * WINDOW_SECONDS)
        points = 1 << (self.size - 1).bit_length()
        triangles, _ = kaldi.get_mel_banks(bands, points, float(sample_rate), low, high, 100.0, -500.0, 1.0)
        bank = functional.pad(triangles, (0, 1)).T
        self.power = Power(scale * kaldi_window(window, self.size), points, bank, PREEMPHASIS)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, size) in [-1, 1] -> (B, T, bands)."""
        power: Tensor = self.power(frames - frames.mean(2, keepdim=True))
        return torch.log(power.clamp(min=EPSILON))


def kaldi_window(kind: str, size: int) -> Tensor:
    """(size,) float64, symmetric: ``povey`` or ``hamming``."""
    if kind == "povey":
        return torch.hann_window(size, periodic=False, dtype=torch.float64).pow(POVEY)
    return torch.hamming_window(size, periodic=False, alpha=0.54, beta=0.46, dtype=torch.float64)


class GraphFrontEnd(nn.Module):
    """Waveform (B, samples) in [-1, 1] -> features (B, T, F); what every front-end here is."""

    def forward(self, waveform: Tensor) -> Tensor:
        raise NotImplementedError

    def min_samples(self, frames: int) -> int:
        """Shortest waveform that gives so many frames."""
        raise NotImplementedError


class LogMelGraph(GraphFrontEnd):
    """``LogMel``: both ends mirrored, so that every hop has a frame."""

    def __init__(self, front: LogMel) -> None:
        super().__init__()
        config = front.config
        self.mel = KaldiMel(
            config.sample_rate, config.num_mel_bins, config.low_freq, config.high_freq, "povey", INT16_SCALE
        )
        self.hop, self.size = self.mel.hop, self.mel.size
        self.before = self.size // 2 - self.hop // 2

    def forward(self, waveform: Tensor) -> Tensor:
        count = (waveform.shape[1] + self.hop // 2) // self.hop
        around = [waveform[:, : self.before].flip(1), waveform, waveform[:, -self.size :].flip(1)]
        frames: Tensor = self.mel(frames_of(torch.cat(around, dim=1), count, self.size, self.hop))
        return frames

    def min_samples(self, frames: int) -> int:
        return max(self.size, frames * self.hop - self.hop // 2)


class SnippedGraph(GraphFrontEnd):
    """``SnippedLogMel``: windows that fit wholly into the audio, the first and the last one twice."""

    def __init__(self, front: SnippedLogMel) -> None:
        super().__init__()
        config = front.config
        nyquist = config.sample_rate / 2
        self.mel = KaldiMel(config.sample_rate, config.num_mel_bins, 20.0, nyquist, config.window, config.scale)

    def forward(self, waveform: Tensor) -> Tensor:
        size, hop = self.mel.size, self.mel.hop
        count = 1 + (waveform.shape[1] - size) // hop
        frames = self.mel(frames_of(functional.pad(waveform, (0, hop)), count, size, hop))
        return torch.cat([frames.narrow(1, 0, 1), frames, frames.narrow(1, count - 1, 1)], dim=1)

    def min_samples(self, frames: int) -> int:
        return int(self.mel.size + (frames - 1) * self.mel.hop)


class SpeechbrainGraph(GraphFrontEnd):
    """``SpeechbrainMel``: frames around every hop, decibels, 80 dB of range an utterance."""

    def __init__(self, front: SpeechbrainMel) -> None:
        super().__init__()
        self.hop, self.size = front.hop, front.size
        self.power = Power(front.window, self.size, front.filters)

    def forward(self, waveform: Tensor) -> Tensor:
        count = 1 + waveform.shape[1] // self.hop
        padded = functional.pad(waveform, (self.size // 2, self.size))
        power = self.power(frames_of(padded, count, self.size, self.hop))
        decibels = 10.0 / math.log(10.0) * torch.log(power.clamp(min=DECIBEL_FLOOR))
        return torch.maximum(decibels, decibels.amax(dim=(1, 2), keepdim=True) - RANGE)

    def min_samples(self, frames: int) -> int:
        return max(1, (frames - 1) * self.hop)


def largest(one: int, other: int) -> int:
    """Of two sizes, which are symbols while a graph is made."""
    found: int = torch.sym_max(one, other)  # type: ignore[no-untyped-call]
    return found


class PowerMelGraph(GraphFrontEnd):
    """``PowerMel``: level raised to -30 dBFS, zeros up to the end of the last window of 1.6 s."""

    def __init__(self, front: PowerMel) -> None:
        super().__init__()
        self.power = Power(front.window, FFT, front.filters)

    def forward(self, waveform: Tensor) -> Tensor:
        rows, samples = waveform.shape
        level = waveform.square().mean(1, keepdim=True).sqrt()
        target = 10 ** (TARGET_LEVEL / 20)
        gain = torch.where(level > 0, target / level.clamp(min=1e-30), 1.0).clamp(min=1.0)
        last = largest(0, samples // HOP - COVERED) // STEP * STEP
        needed = largest(samples, (last + WINDOW) * HOP)
        silence = waveform.new_zeros(rows, needed - samples + FFT)
        padded = torch.cat([waveform.new_zeros(rows, FFT // 2), gain * waveform, silence], dim=1)
        return torch.log(self.power(frames_of(padded, 1 + needed // HOP, FFT, HOP)) + FLOOR)

    def min_samples(self, frames: int) -> int:
        return 1


GRAPHS: dict[type, Any] = {
    LogMel: LogMelGraph,
    SnippedLogMel: SnippedGraph,
    SpeechbrainMel: SpeechbrainGraph,
    PowerMel: PowerMelGraph,
}


def graph_front_end(front: FrontEnd) -> GraphFrontEnd:
    """The front-end as a module.

    :raises UserError: for one that has none here.
    """
    if type(front) not in GRAPHS:
        known = ", ".join(sorted(cls.__name__ for cls in GRAPHS))
        raise UserError(f"the front-end {type(front).__name__} cannot be put into a graph: known are {known}")
    built: GraphFrontEnd = GRAPHS[type(front)](front)
    return built.eval()


def front_end_facts(front: FrontEnd) -> dict[str, Any]:
    """Name and settings, as plain values."""
    if isinstance(front, PowerMel):
        return {"name": "power-mel", "sample_rate": front.sample_rate, "num_mel_bins": front.dim}
    config: Any = getattr(front, "config", None)
    return {"name": frontend_name(config), **asdict(config)}
