"""Batch norms whose statistics are those of the whole batch, whichever processes its rows lie on.

torch's own `SyncBatchNorm` works on GPUs only; on CPUs `SharedBatchNorm` does the same through gloo.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(_BatchNorm):
    """A batch norm over the rows of every process: mean first, then the squares around it, so that nothing cancels."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any of (B, C), (B, C, T), (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        rows = input.new_full((1,), input.numel() / input.shape[1])
        dist.all_reduce(rows)
        mean = _sum(input.sum(axes)) / rows
        centred = input - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / rows
        self._remember(mean.detach(), variance.detach() * rows / (rows - 1))
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        return torch.addcmul(self.bias.view(shape), normalised, self.weight.view(shape)) if self.affine else normalised

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def _sum(values: Tensor) -> Tensor:
    """Over all processes, with the gradient that goes with it."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def share_statistics(module: nn.Module) -> None:
    """Exchange every batch norm inside ``module`` for one that shares; parameters, buffers and names stay."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            shared.weight, shared.bias = child.weight, child.bias
            shared.running_mean, shared.running_var = child.running_mean, child.running_var
            shared.num_batches_tracked = child.num_batches_tracked
            shared.train(child.training)
            setattr(module, name, shared)
        else:
            share_statistics(child)
