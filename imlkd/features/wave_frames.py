"""The front-end of networks that read samples: the waveform itself, 10 ms a frame, nothing lost."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND, num_frames


class WaveFrames:
    """Waveform (samples,) in [-1, 1) -> (round(samples / hop), hop): frame t holds samples t x hop to (t + 1) x hop.

    Of a last frame that is not whole half is needed, and the rest zero, as for log mel.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate % FRAMES_PER_SECOND:
            raise UserError(f"sample rate {sample_rate}: no whole number of samples in 10 ms: give another")
        self.sample_rate, self.dim = sample_rate, sample_rate // FRAMES_PER_SECOND
        self.waveform_parts = [slice(0, self.dim)]

    def __call__(self, waveform: Tensor) -> Tensor:
        count = max(1, num_frames(len(waveform), self.sample_rate)) * self.dim
        whole = functional.pad(waveform[:count], (0, max(0, count - len(waveform))))
        return whole.view(-1, self.dim)


def waveform_parts(frontend: object) -> list[slice]:
    """The values of a frame that are samples: their mean is silence, and a gate over frames is a gain of them."""
    found: list[slice] = getattr(frontend, "waveform_parts", [])
    return found


def gain_of_samples(gate: Tensor, hop: int) -> Tensor:
    """A gate of frames (B, T) as a gain of their samples (B, T, hop).

    Straight lines between the middles of the frames: steps would click.
    """
    middles = gate[:, None, :]
    gain = functional.interpolate(middles, scale_factor=hop, mode="linear", align_corners=False)
    return gain.view(len(gate), gate.shape[1], hop)


def samples_of(frames: Tensor) -> Tensor:
    """(B, T, hop) -> (B, T x hop)."""
    return torch.flatten(frames, 1)
