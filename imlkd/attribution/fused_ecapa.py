"""A frozen ECAPA-TDNN as matrix products over rows of frames, with a backward pass to the input alone.

Maps lie as (B, T, C), so that every pointwise convolution, and every wider one after its taps were put side by side, is
one plain product at the machine's full rate. The affine map of each batch norm goes into the product behind it. What
is kept for the backward pass is what ReLUs let through, once and in the precision of the products. All of it is exact:
in double precision values and gradients are those of :class:`imlkd.models.ecapa.Ecapa` (tests/attribution/
test_fused_ecapa.py). Under autocast products and the maps between them are in bf16; the residual stream, all statistics
and the layers behind them stay in full precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.models.ecapa import Ecapa, EcapaConfig, SeRes2Block
from imlkd.models.layers import AttentivePooling, FrameLayer
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput


@dataclass(frozen=True)
class Product:
    """``x W + b`` on rows, and ``d W'`` on the way back; (outputs, inputs), (outputs,) and (inputs, outputs)."""

    weight: Tensor
    bias: Tensor
    back: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.weight, self.bias)

    def backward(self, gradient: Tensor) -> Tensor:
        return functional.linear(gradient, self.back)


@dataclass(frozen=True)
class Affine:
    """Batch norm in evaluation mode, ``gain * x + shift``; (C,) each."""

    gain: Tensor
    shift: Tensor


def fits(model: nn.Module) -> TypeGuard[Ecapa]:
    """Whether this network is one that is computed here: zero padding, and the attention of the paper's own code."""
    if type(model) is not Ecapa:
        return False
    config: EcapaConfig = model.config
    return config.padding == "zeros" and config.context and config.rectified


class FusedEcapa(SpeakerModel):
    """Stands for an :class:`Ecapa` that :func:`fits`; ``stages`` of its output are empty."""

    def __init__(self, model: Ecapa) -> None:
        super().__init__(model.frontend, model.embedding_dim)
        self.min_frames, self.head = model.min_frames, model.head
        self.network = model
        self._parts: dict[torch.dtype, tuple[_Entry, list[_Block], _Pooling]] = {}

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        frames, valid = self.network.normalized(features, lengths)
        rows = frames.transpose(1, 2).contiguous()
        mask = None if bool((valid.mask == 1).all()) else valid.mask.transpose(1, 2)
        device = rows.device.type
        half = rows.dtype == torch.float32 and torch.is_autocast_enabled(device)
        entry, blocks, pooling = self._parts_in(torch.get_autocast_dtype(device) if half else rows.dtype)
        with torch.autocast(device, enabled=False):
            stages = [_EntryStep.apply(rows, entry)]  # type: ignore[no-untyped-call]
            for block in blocks:
                stages.append(_BlockStep.apply(stages[-1], block, mask))  # type: ignore[no-untyped-call]
            pooled: Tensor = _PoolingStep.apply(pooling, mask, *stages[1:])  # type: ignore[no-untyped-call]
            embedding = self.network.segment(self.network.norm(pooled))
        return SpeakerOutput([], pooled, embedding, None)

    def _parts_in(self, dtype: torch.dtype) -> tuple[_Entry, list[_Block], _Pooling]:
        """Weights of the products in a precision, made when it is first asked for."""
        if dtype not in self._parts:
            net = self.network
            first = _Entry(_taps_of(net.first, dtype), _affine(net.first), net.first.convolution.kernel_size[0])
            blocks = [_Block(block, dtype) for block in net.blocks if isinstance(block, SeRes2Block)]
            self._parts[dtype] = (first, blocks, _Pooling(net.aggregation, net.pooling, dtype))
        return self._parts[dtype]


# Weights


def _affine(layer: FrameLayer) -> Affine:
    norm = layer.norm
    assert norm.running_mean is not None and norm.running_var is not None
    gain = (norm.running_var + norm.eps).rsqrt() * norm.weight
    return Affine(gain, norm.bias - norm.running_mean * gain)


def _product(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, back: Tensor | None = None) -> Product:
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    back = weight.T if back is None else back
    return Product(weight.to(dtype).contiguous(), bias.to(dtype), back.to(dtype).contiguous())


def _after(before: Affine, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Product:
    """A pointwise product (O, I) that takes what ``before`` would have been applied to."""
    shifted = weight @ before.shift
    return _product(weight * before.gain, shifted if bias is None else shifted + bias, dtype)


def _taps_of(layer: FrameLayer, dtype: torch.dtype, gain: Tensor | None = None) -> Product:
    """A convolution (O, I, K) times ``gain`` as a product on taps side by side; back: its outputs' taps, mirrored."""
    weight, bias = layer.convolution.weight, layer.convolution.bias
    assert bias is not None
    if gain is not None:
        weight, bias = weight * gain[:, None, None], bias * gain
    return _product(weight.permute(0, 2, 1).flatten(1), bias, dtype, weight.flip(2).permute(1, 2, 0).flatten(1))


def _taps(padded: Tensor, taps: int, dilation: int) -> Tensor:
    """(B, T + (taps - 1) * dilation, C) -> (B, T, taps * C)."""
    batch, total, channels = padded.shape
    frames = total - (taps - 1) * dilation
    strides = (total * channels, channels, dilation * channels, 1)
    return padded.as_strided((batch, frames, taps, channels), strides).reshape(batch, frames, taps * channels)


def _rectified_back(gradient: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(gradient, output, 0.0)  # type: ignore[no-any-return]


# First layer


@dataclass(frozen=True)
class _Entry:
    taps: Product
    norm: Affine
    width: int


class _EntryStep(torch.autograd.Function):
    """(B, T, F) -> (B, T, C): convolution, ReLU, batch norm."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, entry: _Entry) -> Tensor:
        around = entry.width // 2
        padded = functional.pad(frames.to(entry.taps.weight.dtype), (0, 0, around, around))
        rectified = entry.taps(_taps(padded, entry.width, 1)).relu_()
        ctx.entry = entry
        ctx.save_for_backward(rectified)
        return rectified.to(frames.dtype, copy=True).mul_(entry.norm.gain).add_(entry.norm.shift)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rectified,), entry = ctx.saved_tensors, ctx.entry
        around, frames = entry.width // 2, rectified.shape[1]
        inner = _rectified_back((gradients[0] * entry.norm.gain).to(rectified.dtype), rectified)
        parts = functional.linear(inner, entry.taps.weight.T).to(gradients[0].dtype)
        parts = parts.view(*parts.shape[:2], entry.width, -1)
        found = parts.new_zeros(len(parts), frames + 2 * around, parts.shape[3])
        for tap in range(entry.width):
            found[:, tap : tap + frames] += parts[:, :, tap]
        return found[:, around : around + frames], None


# SE-Res2 block


class _Block:
    """Weights of one block."""

    def __init__(self, block: SeRes2Block, dtype: torch.dtype) -> None:
        layers: list[FrameLayer] = list(block.res2.layers)  # type: ignore[arg-type]
        self.scale, self.dtype, self.dilation = block.res2.scale, dtype, int(layers[0].convolution.dilation[0])
        first, norms = _affine(block.first), [_affine(layer) for layer in layers]
        self.first = _taps_of(block.first, dtype, first.gain.abs())
        self.layers = [_taps_of(layer, dtype, norm.gain.abs()) for layer, norm in zip(layers, norms, strict=True)]
        self.signs_first, shifts = (side.chunk(self.scale) for side in (first.gain.sign().to(dtype), first.shift))
        self.signs = [norm.gain.sign().to(dtype) for norm in norms]
        self.negative = any(bool((sign < 0).any()) for sign in [*self.signs_first, *self.signs])
        before = [torch.zeros_like(shifts[0]), *(norm.shift for norm in norms)]
        self.shifts = [(own + other).to(dtype) for own, other in zip(shifts[1:], before, strict=False)]
        inner = Affine(
            torch.cat([self.signs_first[0], *self.signs]).to(first.gain),
            torch.cat([shifts[0], *(norm.shift for norm in norms)]),
        )
        last = block.last.convolution
        self.last, self.norm = _after(inner, last.weight[:, :, 0], last.bias, dtype), _affine(block.last)
        self.down, self.up = block.excitation.down, block.excitation.up

    def padded(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros for one part (B, T, C / scale) with frames around, and the view of its frames."""
        around, frames = self.dilation, like.shape[1]
        buffer = like.new_zeros(len(like), frames + 2 * around, like.shape[2])
        return buffer, buffer[:, around : around + frames]


class _BlockStep(torch.autograd.Function):
    """(B, T, C) -> (B, T, C): pointwise layer, Res2 layer, pointwise layer, squeeze-excitation, shortcut."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, block: _Block, mask: Tensor | None) -> Tensor:
        first = _parts(block.first(frames.to(block.dtype)).relu_(), block.scale)
        inner = _res2(block, first, mask)
        last = block.last(_rows(inner)).relu_()
        gained = last.to(frames.dtype, copy=True)
        mean = _mean(gained, mask) * block.norm.gain + block.norm.shift
        hidden = torch.relu(block.down(mean))
        gate = torch.sigmoid(block.up(hidden))
        ctx.block, ctx.mask = block, mask
        ctx.save_for_backward(first, inner, last, hidden, gate)
        gained.mul_((gate * block.norm.gain)[:, None]).add_((gate * block.norm.shift)[:, None])
        return gained.add_(frames)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (first, inner, last, hidden, gate) = gradients, ctx.saved_tensors
        block, mask = ctx.block, ctx.mask
        excited = block.norm.gain * (gradient * last).sum(1) + block.norm.shift * gradient.sum(1)
        excited = (excited * gate * (1 - gate)) @ block.up.weight
        of_mean = (excited * (hidden > 0)) @ block.down.weight * block.norm.gain
        spread = of_mean[:, None] / last.shape[1] if mask is None else of_mean[:, None] * (mask / mask.sum(1, True))
        inside = torch.addcmul(spread, gradient, (gate * block.norm.gain)[:, None]).to(block.dtype)
        inside = _parts(block.last.backward(_rectified_back(inside, last)), block.scale)
        inside = block.first.backward(_rows(_res2_back(block, inside, first, inner, mask)))
        return inside.to(gradient.dtype).add_(gradient), None, None


def _mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    return frames.mean(1) if mask is None else (frames * mask).sum(1) / mask.sum(1)


def _parts(rows: Tensor, scale: int) -> Tensor:
    """(B, T, C) -> (scale, B, T, C / scale), each part in one piece of memory."""
    return rows.view(*rows.shape[:2], scale, -1).permute(2, 0, 1, 3).contiguous()


def _rows(parts: Tensor) -> Tensor:
    """The way back."""
    return parts.permute(1, 2, 0, 3).flatten(2)


def _res2(block: _Block, sources: Tensor, mask: Tensor | None) -> Tensor:
    """What the layers let through, before their batch norms' signs and shifts, behind the part that passes as it is."""
    outputs = torch.empty_like(sources)
    outputs[0] = sources[0]
    buffer, own = block.padded(sources[0])
    for i, layer in enumerate(block.layers, 1):
        if block.negative:
            torch.mul(sources[i], block.signs_first[i], out=own)
            own.addcmul_(outputs[i - 1], block.signs[i - 2]) if i > 1 else None
            own.add_(block.shifts[i - 1])
        else:
            torch.add(sources[i], block.shifts[i - 1], out=own)
            own.add_(outputs[i - 1]) if i > 1 else None
        if mask is not None:
            own.mul_(mask)
        torch.clamp_min(layer(_taps(buffer, 3, block.dilation)), 0, out=outputs[i])
    return outputs


def _res2_back(block: _Block, given: Tensor, sources: Tensor, outputs: Tensor, mask: Tensor | None) -> Tensor:
    """From a gradient to what :func:`_res2` gave, which is overwritten, to one before the first layer's ReLU."""
    found = torch.empty_like(given)
    rectified = torch.ops.aten.threshold_backward
    rectified(given[0], sources[0], 0.0, grad_input=found[0])
    buffer, own = block.padded(sources[0])
    back: Tensor | None = None
    for i in range(block.scale - 1, 0, -1):
        if back is not None:
            given[i].addcmul_(back, block.signs[i - 1]) if block.negative else given[i].add_(back)
        rectified(given[i], outputs[i], 0.0, grad_input=own)
        back = block.layers[i - 1].backward(_taps(buffer, 3, block.dilation))
        if mask is not None:
            back.mul_(mask)
        rectified(back * block.signs_first[i] if block.negative else back, sources[i], 0.0, grad_input=found[i])
    return found


# Aggregation and attentive pooling


class _Pooling:
    """Weights of the aggregating layer and of the pooling, whose attention sees what that layer's ReLU lets through."""

    def __init__(self, aggregation: FrameLayer, pooling: AttentivePooling, dtype: torch.dtype) -> None:
        assert isinstance(pooling.hidden, FrameLayer)
        self.dtype, self.floor = dtype, pooling.floor
        self.aggregate = _product(aggregation.convolution.weight[:, :, 0], aggregation.convolution.bias, dtype)
        self.norm, self.hidden_norm = _affine(aggregation), _affine(pooling.hidden)
        channels = len(self.norm.gain)
        weight, bias = pooling.hidden.convolution.weight[:, :, 0], pooling.hidden.convolution.bias
        self.of_frames = _after(self.norm, weight[:, :channels], bias, dtype)
        self.of_statistics = weight[:, channels:]
        assert pooling.weights.bias is not None
        scores = pooling.weights.weight[:, :, 0], pooling.weights.bias
        self.scores = _product(*scores, dtype)

    def deviation(self, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Deviation behind the batch norm, and its derivative by the variance (B, C) before it."""
        square = self.norm.gain.square()
        deviation = (variance * square).clamp(min=self.floor).sqrt()
        return deviation, torch.where(variance * square > self.floor, square / (2 * deviation), 0)


class _PoolingStep(torch.autograd.Function):
    """(B, T, C) of each block -> (B, 2 * wide): aggregation, attention, weighted mean and deviation.

    Statistics are taken a row at a time: its (T, wide) in full precision stays in a core's cache from step to step.
    """

    @staticmethod
    def forward(ctx: Any, pooling: _Pooling, mask: Tensor | None, *stages: Tensor) -> Tensor:
        batch, frames, _ = stages[0].shape
        joined = stages[0].new_empty(batch, frames, pooling.aggregate.weight.shape[1], dtype=pooling.dtype)
        for place, stage in zip(joined.chunk(len(stages), dim=2), stages, strict=True):
            place.copy_(stage)
        rectified = pooling.aggregate(joined).relu_()
        own, variance = _own_statistics(rectified, mask, stages[0].dtype)
        statistics = torch.cat([own * pooling.norm.gain + pooling.norm.shift, pooling.deviation(variance)[0]], dim=1)
        once = (statistics @ pooling.of_statistics.T)[:, None].to(pooling.dtype)
        hidden = pooling.of_frames(rectified).add_(once).relu_()
        norm = pooling.hidden_norm
        bent = torch.tanh(hidden.to(own.dtype, copy=True).mul_(norm.gain).add_(norm.shift)).to(pooling.dtype)
        weights, mean, spread = _attended(rectified, pooling.scores(bent), mask, own.dtype)
        ctx.pooling, ctx.mask, ctx.stages = pooling, mask, len(stages)
        ctx.save_for_backward(rectified, own, variance, hidden, bent, weights, mean, spread)
        return torch.cat([mean * pooling.norm.gain + pooling.norm.shift, pooling.deviation(spread)[0]], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rectified, own, variance, hidden, bent, weights, mean, spread = ctx.saved_tensors
        pooling, mask = ctx.pooling, ctx.mask
        of_mean, of_spread = gradients[0].chunk(2, dim=1)
        of_mean, of_spread = of_mean * pooling.norm.gain, of_spread * pooling.deviation(spread)[1]
        scores = torch.empty_like(rectified)
        for b, (row, weight) in enumerate(zip(rectified, weights, strict=True)):
            away = row.to(own.dtype, copy=True).sub_(mean[b])
            scores[b] = (away * of_spread[b]).add_(of_mean[b]).mul_(away).sub_(spread[b] * of_spread[b]).mul_(weight)
        inner = pooling.scores.backward(scores).to(own.dtype)
        inner = inner.mul_((1 - bent.to(own.dtype).square_()).mul_(pooling.hidden_norm.gain)).mul_(hidden > 0)
        own_mean, own_deviation = (inner.sum(1) @ pooling.of_statistics).chunk(2, dim=1)
        steep = 2 * own_deviation * pooling.deviation(variance)[1]
        level = own_mean * pooling.norm.gain - steep * own
        found = pooling.of_frames.backward(inner.to(pooling.dtype))
        for b, (row, weight) in enumerate(zip(rectified, weights, strict=True)):
            full = row.to(own.dtype, copy=True)
            attended = (full - mean[b]).mul_(2 * of_spread[b]).add_(of_mean[b]).mul_(weight)
            direct = full.mul_(steep[b]).add_(level[b])
            direct = direct.div_(len(full)) if mask is None else direct.mul_(mask[b] / mask[b].sum())
            found[b] = attended.add_(direct).add_(found[b])
        inside = pooling.aggregate.backward(_rectified_back(found, rectified))
        return (None, None, *(part.to(own.dtype) for part in inside.chunk(ctx.stages, dim=2)))


def _own_statistics(rectified: Tensor, mask: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, C) over the frames."""
    found = []
    for b, row in enumerate(rectified):
        full, own = row[None].to(dtype), None if mask is None else mask[b : b + 1]
        mean = _mean(full, own)
        found.append((mean, _mean((full - mean).square_(), own)))
    mean, variance = (torch.cat(column) for column in zip(*found, strict=True))
    return mean, variance


def _attended(
    rectified: Tensor, scores: Tensor, mask: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (B, T, C) over time, and mean and variance (B, C) under them."""
    weights = torch.empty_like(rectified, dtype=dtype)
    mean, spread = (weights.new_empty(len(weights), weights.shape[2]) for _ in range(2))
    for b, (row, score) in enumerate(zip(rectified, scores, strict=True)):
        score = score.to(dtype)
        if mask is not None:
            score = score.masked_fill(mask[b] == 0, float("-inf"))
        torch.softmax(score, 0, out=weights[b])
        full = row.to(dtype)
        torch.sum(full * weights[b], 0, out=mean[b])
        torch.sum((full - mean[b]).square_().mul_(weights[b]), 0, out=spread[b])
    return weights, mean, spread
