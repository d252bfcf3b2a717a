"""A teacher as a scalar function of its input, and the gradient of it: one forward and one backward for a whole batch.

bf16 here means autocast of the convolutions alone. The residual stream and the statistics stay in fp32, because the
networks multiply by an fp32 mask after each layer; linear layers, which see an utterance's statistics and its
embedding, and the cosines are kept in fp32 explicitly. docs/engine.md shows what each of these is worth.
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.attribution.folding import folded
from imlkd.attribution.fused_ecapa import FusedEcapa, fits
from imlkd.attribution.fusing import fuse
from imlkd.attribution.quantities import Quantity
from imlkd.attribution.row_threads import RowThreads, joined
from imlkd.models.speaker_model import CosineHead, SpeakerModel

FASTER = 1.1  # bf16 must be this much faster to be taken
ALIKE = 0.999  # and its gradients correlate this well with those of fp32
REPETITIONS = 3
SHORTEST_TRIAL = 0.2  # seconds: below this a time is noise, so more repetitions follow


@dataclass(frozen=True)
class Agreement:
    """bf16 beside fp32, on gradients of the corpus at hand.

    :param correlation: the lowest over the rows.
    :param speedup: seconds in fp32 over seconds in bf16.
    :param wanted: bf16 is taken whatever it brings.
    """

    correlation: float
    speedup: float
    wanted: bool = False

    @property
    def pays(self) -> bool:
        return self.speedup >= FASTER and self.correlation >= ALIKE

    @property
    def taken(self) -> bool:
        return self.wanted or self.pays

    def __str__(self) -> str:
        taken = "taken" if self.taken else "not taken"
        return (
            f"bf16 beside fp32: gradients correlate {self.correlation:.5f}, {self.speedup:.2f} times as fast: {taken}"
        )


class TeacherFunction:
    """``quantity`` of ``model``, and its gradient in fp32 (``half`` False) or with bf16 convolutions.

    :param fold: fold batch norms away where that is exact, fuse frame layers, and lay maps of images channels last.
    :param compiled: compile the gradient with torch.compile, where a C++ compiler is found; costs minutes, once.
    """

    def __init__(self, model: SpeakerModel, quantity: Quantity, fold: bool = True, compiled: bool = False) -> None:
        self.model, self.norms_folded = folded(model) if fold else (model, 0)
        self.model.eval().requires_grad_(False)
        self.compiles = compiled and has_compiler()
        if fold and not self.compiles:  # a compiler does this itself
            on_cpu = next(self.model.parameters()).device.type == "cpu"  # where it was measured
            if on_cpu and fits(self.model):
                self.model = FusedEcapa(self.model)
            else:
                fuse(self.model)
            if on_cpu and any(isinstance(module, nn.Conv2d) for module in self.model.modules()):
                self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.quantity = quantity
        self._half = self.model
        self._compiled: dict[bool, Callable[..., Tensor]] = {}
        self._shape: tuple[int, ...] = ()
        self._threads = RowThreads()

    def values(self, points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """(B,) float64, computed in full precision."""
        return torch.cat(self._threads.map(self._values, points, lengths, targets))

    @torch.no_grad()
    def _values(self, points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        return self.quantity(self.model(points, lengths), targets).double()

    def graph(self, points: Tensor, lengths: Tensor, targets: Tensor, half: bool) -> Tensor:
        """(B,) values that a gradient can be taken of."""
        with torch.enable_grad(), torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            return self._values_of(half)(points, lengths, targets)

    def gradient(self, points: Tensor, lengths: Tensor, targets: Tensor, half: bool) -> tuple[Tensor, Tensor]:
        """Values (B,), and d value / d points of each row."""
        if self.compiles:
            return self._gradient(points, lengths, targets, half)
        if half:
            self._half_model()
        work = partial(self._gradient, half=half)
        values, gradient = joined(self._threads.map(work, points, lengths, targets))
        return values, gradient

    def _gradient(self, points: Tensor, lengths: Tensor, targets: Tensor, half: bool) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        values = self.graph(points, lengths, targets, half)
        return values.detach().double(), torch.autograd.grad(values.sum(), points)[0]

    def compile_for(self, shape: torch.Size) -> None:
        """Chunks of this shape go through the compiled function, others do not: each shape is compiled anew."""
        if self.compiles and not self._shape:
            self._shape = tuple(shape)

    def _values_of(self, half: bool) -> Callable[..., Tensor]:
        model = self._half_model() if half else self.model

        def plain(points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
            return self.quantity(model(points, lengths), targets)

        if not self.compiles:
            return plain

        def by_shape(points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
            if tuple(points.shape) != self._shape:
                return plain(points, lengths, targets)
            if half not in self._compiled:
                self._compiled[half] = torch.compile(plain, dynamic=False)
            return self._compiled[half](points, lengths, targets)

        return by_shape

    def _half_model(self) -> SpeakerModel:
        """A copy whose linear layers and head leave autocast."""
        if self._half is self.model:
            self._half = copy.deepcopy(self.model)
            for module in self._half.modules():
                if isinstance(module, nn.Linear | CosineHead):
                    module.forward = _in_full(module.forward)  # type: ignore[method-assign]
        return self._half

    def agreement(self, points: Tensor, lengths: Tensor, targets: Tensor, wanted: bool = False) -> Agreement:
        """Measure bf16 on these rows: neither its speed nor its noise is assumed."""
        full, half = (
            self.gradient(points.clone(), lengths, targets, half=h)[1].flatten(1).double() for h in (False, True)
        )
        full, half = (g - g.mean(1, keepdim=True) for g in (full, half))
        correlation = torch.cosine_similarity(full, half).amin()
        times: dict[bool, list[float]] = {False: [], True: []}
        while len(times[True]) < REPETITIONS or sum(times[True]) < SHORTEST_TRIAL:
            for h, taken in times.items():
                started = time.perf_counter()
                self.gradient(points.clone(), lengths, targets, half=h)
                if points.device.type == "cuda":
                    torch.cuda.synchronize(points.device)
                taken.append(time.perf_counter() - started)
        return Agreement(float(correlation), median(times[False]) / median(times[True]), wanted)


def _in_full(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward`` in fp32, whatever autocast says around it."""

    def full(*inputs: Tensor) -> Any:
        with torch.autocast(inputs[0].device.type, enabled=False):
            return forward(*(x.float() if x.dtype == torch.bfloat16 else x for x in inputs))

    return full


def has_compiler() -> bool:
    """Whether torch.compile can build for the CPU here."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def matrix_rate(
    dtype: torch.dtype, size: int = 2048, repetitions: int = 9, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Multiply-adds a second of square matrix products, the median; with the threads that torch has."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    taken = []
    for _ in range(repetitions + 2):
        started = clock()
        torch.mm(left, right)
        taken.append(clock() - started)
    return size**3 / median(taken[2:])
