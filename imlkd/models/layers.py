"""What several networks are made of: normalisation of the input, frame layers that keep to each row's end, pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

VARIANCE_FLOOR = 1e-12
PADDINGS = ("zeros", "reflect", "none")


@dataclass
class Valid:
    """Which frames of a padded batch exist: (B,) counts, and (B, 1, T) ones and zeros."""

    lengths: Tensor
    mask: Tensor

    def every(self, stride: int) -> Valid:
        """Of every ``stride``-th frame, from the first on."""
        return Valid((self.lengths + stride - 1) // stride, self.mask[:, :, ::stride])

    def without(self, frames: int) -> Valid:
        """After a convolution that shortens each row."""
        return Valid(self.lengths - frames, self.mask[:, :, frames:])


class Normalization(nn.Module):
    """Take the level (utterance scalar and training mean of each bin) or the utterance's mean frame from the features.

    ``level`` keeps the long-term spectrum, which tells speakers apart when recordings of one speaker share a channel.
    """

    bin_mean: Tensor

    def __init__(self, kind: str, dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("bin_mean", torch.zeros(dim))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F), (B, T, 1) -> (B, T, F)."""
        if self.kind == "none":
            return features
        mean_frame = (features * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        if self.kind == "mean":
            return features - mean_frame
        return features - mean_frame.mean(2, keepdim=True) - (self.bin_mean - self.bin_mean.mean())


def pooled_statistics(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the valid frames: (B, C, T), (B, 1, T) -> (B, 2C)."""
    count = mask.sum(2)
    mean = (frames * mask).sum(2) / count
    variance = (((frames - mean[:, :, None]) * mask) ** 2).sum(2) / count
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


def sample_statistics(frames: Tensor, mask: Tensor, floor: float = 1e-7) -> Tensor:
    """As :func:`pooled_statistics`, but the variance of a sample (divided by one less than the frames)."""
    count = mask.sum(2)
    mean = (frames * mask).sum(2) / count
    variance = (((frames - mean[:, :, None]) * mask) ** 2).sum(2) / (count - 1).clamp(min=1)
    return torch.cat([mean, (variance + floor).sqrt()], dim=1)


def weighted_statistics(
    frames: Tensor, weights: Tensor, floor: float = VARIANCE_FLOOR
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, C) of (B, C, T) under weights (B, C or 1, T) that sum to 1 over time."""
    mean = (frames * weights).sum(2)
    variance = ((frames - mean[:, :, None]).square() * weights).sum(2)
    return mean, variance.clamp(min=floor).sqrt()


def reflected(frames: Tensor, lengths: Tensor, pad: int) -> Tensor:
    """Mirror each row at its first and at its own last frame: (B, C, T), (B,) -> (B, C, T + 2 pad).

    What lies more than ``pad`` behind a row's end has no meaning. Rows of fewer than ``pad`` frames are mirrored again.
    """
    total = frames.shape[2]
    exporting = torch.compiler.is_exporting()  # rows of an exported batch are equally long, and longer than pad
    if exporting or (total > pad and bool((lengths == total).all())):
        return functional.pad(frames, (pad, pad), mode="reflect")
    place = torch.arange(-pad, total + pad, device=frames.device)[None, :]
    period = (2 * lengths.to(frames.device) - 2).clamp(min=1)[:, None]
    place = place.remainder(period)
    place = torch.minimum(place, period - place).minimum(lengths.to(frames.device)[:, None] - 1)
    return frames.gather(2, place[:, None, :].expand(-1, frames.shape[1], -1))


class FrameLayer(nn.Module):
    """Convolution over time, ReLU (or leaky), batch norm; zero behind each row's end.

    :param padding: ``zeros`` or ``reflect`` keep the number of frames, ``none`` takes them from both ends.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1, padding: str = "zeros", slope: float = 0.0
    ) -> None:
        super().__init__()
        self.reach, self.padding, self.slope = dilation * (kernel - 1) // 2, padding, slope
        around = self.reach if padding == "zeros" else 0
        self.convolution = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=around)
        self.norm = nn.BatchNorm1d(outputs)

    def after(self, valid: Valid) -> Valid:
        """What is valid of the output."""
        return valid.without(2 * self.reach) if self.padding == "none" and self.reach else valid

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        """(B, inputs, T), zero behind each row's end -> (B, outputs, T)."""
        if self.padding == "reflect" and self.reach:
            frames = reflected(frames, valid.lengths, self.reach)
        frames = self.convolution(frames)
        frames = functional.leaky_relu(frames, self.slope) if self.slope else torch.relu(frames)
        output: Tensor = self.norm(frames) * self.after(valid).mask
        return output


class AttentivePooling(nn.Module):
    """Mean and deviation under weights that each channel gives each frame.

    Okabe, Koshinaka, Shinoda, Interspeech 2018, section 3; per channel, and seeing the utterance's own statistics
    (``context``), as in ECAPA-TDNN (Interspeech 2020, 3.1).

    :param rectified: ReLU and batch norm before the tanh, and the biased deviation as context, as in SpeechBrain's
        network; else neither, and that of a sample, as in wespeaker's.
    """

    def __init__(self, channels: int, inner: int, context: bool, rectified: bool) -> None:
        super().__init__()
        self.context = context
        self.floor = VARIANCE_FLOOR if rectified else 1e-7
        inputs = 3 * channels if context else channels
        self.hidden = FrameLayer(inputs, inner) if rectified else nn.Conv1d(inputs, inner, 1)
        self.weights = nn.Conv1d(inner, channels, 1)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        """(B, C, T) -> (B, 2C)."""
        seen = frames
        if self.context:
            own = self.own(frames, valid)
            seen = torch.cat([frames, *(statistic[:, :, None].expand_as(frames) for statistic in own)], dim=1)
        hidden = self.hidden(seen, valid) if isinstance(self.hidden, FrameLayer) else self.hidden(seen)
        scores = self.weights(torch.tanh(hidden)).masked_fill(valid.mask == 0, float("-inf"))
        return torch.cat(weighted_statistics(frames, scores.softmax(dim=2), self.floor), dim=1)

    def own(self, frames: Tensor, valid: Valid) -> tuple[Tensor, ...]:
        """Mean and deviation (B, C) of each row."""
        if isinstance(self.hidden, FrameLayer):
            return weighted_statistics(frames, valid.mask / valid.mask.sum(2, keepdim=True))
        return sample_statistics(frames, valid.mask).chunk(2, dim=1)
