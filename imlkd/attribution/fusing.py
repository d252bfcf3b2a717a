"""A teacher's frame layers and attentive pooling in fewer passes over memory, for gradients alone.

What ECAPA-TDNN spends beside its matrix products goes into reading and writing whole feature maps. Here ReLU, batch
norm and mask are one step that keeps one map for the backward pass instead of four, a mask of ones is left out, and the
pooling's attention multiplies the utterance's statistics once instead of once a frame. All of it is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.models.layers import AttentivePooling, FrameLayer, Valid, reflected, weighted_statistics


class _RectifiedNorm(torch.autograd.Function):
    """``(relu(z) * gain + shift) * mask`` in the precision of ``gain``."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, gain: Tensor, shift: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(z, gain, mask)
        output = (z.relu() if z.dtype == gain.dtype else z.to(gain.dtype).relu_()).mul_(gain).add_(shift)
        return output if mask is None else output.mul_(mask)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        z, gain, mask = ctx.saved_tensors
        inner = gradients[0] * gain
        inner = inner if mask is None else inner.mul_(mask)
        return torch.ops.aten.threshold_backward(inner.to(z.dtype), z, 0.0), None, None, None


class FusedFrameLayer(FrameLayer):
    """A frame layer with ReLU and batch norm in evaluation mode."""

    gain: Tensor
    shift: Tensor

    def __init__(self, layer: FrameLayer) -> None:
        nn.Module.__init__(self)  # all that FrameLayer would make is there already
        norm = layer.norm
        assert norm.running_mean is not None and norm.running_var is not None
        gain = (norm.running_var + norm.eps).rsqrt() * norm.weight
        self.convolution = layer.convolution
        self.reach, self.padding, self.slope = layer.reach, layer.padding, layer.slope
        self.register_buffer("gain", gain[:, None])
        self.register_buffer("shift", (norm.bias - norm.running_mean * gain)[:, None])

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        """(B, inputs, T), zero behind each row's end -> (B, outputs, T)."""
        if self.padding == "reflect" and self.reach:
            frames = reflected(frames, valid.lengths, self.reach)
        return self.rectify(self.convolution(frames), self.after(valid))

    def rectify(self, frames: Tensor, valid: Valid) -> Tensor:
        """What follows the convolution."""
        mask = _partial_mask(valid)
        output: Tensor = _RectifiedNorm.apply(frames, self.gain, self.shift, mask)  # type: ignore[no-untyped-call]
        return output


class FusedPooling(nn.Module):
    """An :class:`AttentivePooling` that sees the utterance's statistics, its hidden layer rectified."""

    def __init__(self, pooling: AttentivePooling) -> None:
        super().__init__()
        assert isinstance(pooling.hidden, FrameLayer)
        self.own, self.floor, self.weights = pooling.own, pooling.floor, pooling.weights
        self.hidden = FusedFrameLayer(pooling.hidden)
        weight, channels = pooling.hidden.convolution.weight, pooling.weights.out_channels
        self.of_frames = nn.Parameter(weight[:, :channels].clone(), requires_grad=False)
        self.of_statistics = nn.Linear(2 * channels, len(weight))
        self.of_statistics.weight = nn.Parameter(weight[:, channels:, 0].clone(), requires_grad=False)
        bias = pooling.hidden.convolution.bias
        assert bias is not None
        self.of_statistics.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, frames: Tensor, valid: Valid) -> Tensor:
        """(B, C, T) -> (B, 2C)."""
        once = self.of_statistics(torch.cat(self.own(frames, valid), dim=1))[:, :, None]
        hidden = self.hidden.rectify(functional.conv1d(frames, self.of_frames) + once, valid)
        scores, mask = self.weights(torch.tanh(hidden)), _partial_mask(valid)
        scores = scores if mask is None else scores.masked_fill(mask == 0, float("-inf"))
        return torch.cat(weighted_statistics(frames, scores.softmax(dim=2), self.floor), dim=1)


def _partial_mask(valid: Valid) -> Tensor | None:
    return None if bool((valid.mask == 1).all()) else valid.mask


def fuse(model: nn.Module) -> int:
    """Exchange what can be fused inside a frozen model in evaluation mode; returns how many layers."""
    fused = 0
    for name, child in list(model.named_children()):
        if type(child) is AttentivePooling and child.context and _fits(child.hidden):
            setattr(model, name, _keeping_own(child))
        elif _fits(child):
            assert isinstance(child, FrameLayer)
            setattr(model, name, FusedFrameLayer(child))
        else:
            fused += fuse(child)
            continue
        fused += 1
    return fused


def _fits(layer: nn.Module) -> bool:
    return type(layer) is FrameLayer and not layer.slope and layer.norm.affine


def _keeping_own(pooling: AttentivePooling) -> FusedPooling:
    return FusedPooling(pooling).to(pooling.weights.weight.dtype)
