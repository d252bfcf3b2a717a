"""A copy of a teacher with fewer layers: batch norms behind convolutions, or before linear layers, folded into them.

In evaluation mode batch norm is ``a x + b`` for each channel, so ``a (W x + c) + b = (a W) x + (a c + b)`` and
``W (a x + b) + c = (W a) x + (W b + c)``. The second form is kept to linear layers: a convolution pads with zeros, not
with ``b``. Pairs are found by running the network once, so the way a module is written does not matter.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imlkd.models.speaker_model import SpeakerModel

EXACT = 1e-5  # largest difference of embeddings, relative to their length
PROBE_FRAMES = 200


def folded(model: SpeakerModel) -> tuple[SpeakerModel, int]:
    """A copy that gives the same embeddings to 1e-5, and how many batch norms it has lost.

    The model itself is not touched; when a fold is not exact a plain copy comes back, and 0.
    """
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return copy.deepcopy(model), 0
    probe = _probe(model)
    lengths = torch.full((len(probe),), probe.shape[1], device=probe.device)
    fresh = copy.deepcopy(model)
    after, before = _pairs(fresh, probe, lengths)
    for norm, layer in after:
        _fold_after(layer, norm)
    for norm, layer in before:
        _fold_before(layer, norm)
    _drop(fresh, [norm for norm, _ in [*after, *before]])
    with torch.no_grad():
        expected, found = (one.encode(probe, lengths).embedding for one in (model, fresh))
    if (found - expected).norm(dim=1).gt(EXACT * expected.norm(dim=1)).any():
        return copy.deepcopy(model), 0
    return fresh, len(after) + len(before)


def _probe(model: SpeakerModel) -> Tensor:
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(2, max(PROBE_FRAMES, model.min_frames), model.frontend.dim, generator=generator)
    return probe.to(parameter)


_Pairs = list[tuple[_BatchNorm, nn.Module]]


def _pairs(model: SpeakerModel, probe: Tensor, lengths: Tensor) -> tuple[_Pairs, _Pairs]:
    """(batch norm, layer in front of it), and (batch norm, linear layer behind it), each used once."""
    made: dict[int, nn.Module] = {}  # id of a tensor -> the layer whose output it is
    kept: list[Tensor] = []  # so that no id comes twice
    after: _Pairs = []
    before: _Pairs = []
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        source = made.get(id(inputs[0]))
        if isinstance(module, _BatchNorm) and isinstance(source, nn.Conv1d | nn.Conv2d | nn.Linear):
            after.append((module, source))
        elif isinstance(module, nn.Linear) and isinstance(source, _BatchNorm):
            before.append((source, module))
        made[id(output)] = module
        kept.append(output)

    wanted = (nn.Conv1d, nn.Conv2d, nn.Linear, _BatchNorm)
    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, wanted)]
    try:
        with torch.no_grad():
            model.encode(probe, lengths)
    finally:
        for handle in handles:
            handle.remove()
    once = {module for module, count in calls.items() if count == 1}
    after = [(norm, layer) for norm, layer in after if norm in once and layer in once]
    taken = {norm for norm, _ in after}
    return after, [(norm, layer) for norm, layer in before if norm in once - taken and layer in once]


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """a and b of ``a x + b``, in double precision."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        gain = gain * norm.weight.double()
    shift = -norm.running_mean.double() * gain
    return gain, shift if norm.bias is None else shift + norm.bias.double()


def _fold_after(layer: nn.Module, norm: _BatchNorm) -> None:
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    gain, shift = _affine(norm)
    bias = shift if layer.bias is None else gain * layer.bias.double() + shift
    weight = layer.weight.double() * gain.view(-1, *[1] * (layer.weight.ndim - 1))
    _set(layer, weight, bias)


def _fold_before(layer: nn.Module, norm: _BatchNorm) -> None:
    assert isinstance(layer, nn.Linear)
    gain, shift = _affine(norm)
    weight = layer.weight.double()
    bias = weight @ shift if layer.bias is None else weight @ shift + layer.bias.double()
    _set(layer, weight * gain, bias)


def _set(layer: nn.Conv1d | nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


def _drop(model: nn.Module, norms: list[nn.Module]) -> None:
    """Put the identity in place of folded layers."""
    gone = set(norms)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in gone:
                setattr(parent, name, nn.Identity())
