"""Integrated Gradients (Sundararajan, Taly, Yan, ICML 2017, eq. 1) over a corpus, complete utterance by utterance.

::

    A = integral over alpha of grad F(x(alpha)) * dx/dalpha,    sum of A = F(x) - F(x')

How to use it::

    engine = IntegratedGradients(model, IntegrationConfig(tolerance=0.05))       # frame-resolved maps are the default
    for found in engine.explain(Utterance(name, features, target) for ...):      # a stream in, a stream out, same order
        found.map, found.error, found.nodes, found.converged
    engine.convergence.check()                                                   # UserError when over 1 % failed

- ``explain`` reads a window of utterances at a time, of any lengths, and holds no more: memory does not grow with the
  corpus. ``map`` is (T,) or, with ``resolution="time-frequency"``, (T, F), float32 (float64 for a model in float64),
  zero where input and baseline agree, so also in a front-end's padding behind ``Utterance.frames``.
- Nodes double, only for the utterances whose completeness error exceeds ``tolerance``, until ``max_nodes``. With a
  nested rule no gradient is computed twice. What fails at ``max_nodes`` comes out with ``converged=False``, and
  ``kept=False`` when the policy is ``exclude``; the caller leaves it out.
- With ``max_nodes == nodes`` the rule is fixed and the maps are captum's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.baselines import Baseline, mean_frame
from imlkd.attribution.convergence import SMALLEST_CHANGE, Convergence
from imlkd.attribution.gradients import Agreement, TeacherFunction
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.memory import (
    SHARE_OF_FREE,
    free_memory,
    is_out_of_memory,
    parse_memory,
    rows_within,
    saved_bytes,
)
from imlkd.attribution.paths import Path
from imlkd.attribution.quantities import Quantity, Target, TargetCosine
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.rules import ladder
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel


@dataclass(frozen=True)
class Utterance:
    """What is explained.

    :param features: (T, F) of the model's own front-end.
    :param target: a class (index, or name of its speaker), or an enrolment embedding (D,), as the quantity wants it.
    :param frames: frames that hold the utterance; a front-end's padding lies behind. None: all.
    :param baseline: (T, F); None: the engine's.
    """

    name: str
    features: Tensor
    target: Target
    frames: int | None = None
    baseline: Tensor | None = None


@dataclass(frozen=True)
class Attribution:
    """What an utterance's frames, or bins, contribute.

    :param map: (T,) or (T, F).
    :param change: F(x) - F(x').
    :param error: |sum of map - change| / |change|, the change guarded from below.
    :param nodes: gradients that the map is made of.
    :param gradients: gradients that were computed for it.
    :param converged: whether the error is within the tolerance.
    :param kept: whether the policy keeps it.
    """

    name: str
    map: Tensor
    change: float
    error: float
    nodes: int
    gradients: int
    converged: bool
    kept: bool


@dataclass
class _Window:
    """Utterances side by side, padded to the longest, sorted by length."""

    features: Tensor  # (B, T, F)
    baselines: Tensor  # (B, T, F)
    ends: tuple[Tensor, Tensor]  # the path's coordinates of baselines and features
    lengths: Tensor  # (B,)
    targets: Tensor  # (B,) or (B, D)


class IntegratedGradients:
    """The engine: a model, what of it is explained, from which baseline, how finely, in how much memory."""

    def __init__(
        self,
        model: SpeakerModel,
        config: IntegrationConfig | None = None,
        quantity: Quantity | None = None,
        baseline: Baseline = mean_frame,
    ) -> None:
        """A folded and frozen copy of ``model`` is explained; without ``fold`` the model itself is frozen.

        :raises UserError: when the configuration cannot work.
        """
        self.config = config or IntegrationConfig()
        self.config.check()
        self.model = model
        self.quantity = quantity or TargetCosine()
        self.function = TeacherFunction(model, self.quantity, self.config.fold, self.config.compile)
        self.baseline = baseline
        self.path = Path(self.config.path)
        self.ladder = ladder(self.config.rule, self.config.nodes, self.config.max_nodes, self.config.power)
        self.convergence = Convergence(self.config.tolerance, self.config.policy, self.config.max_failing)
        self.rows = self.config.rows
        self.agreement: Agreement | None = None  # of bf16 with fp32, once it is measured
        self.device = next(model.parameters(), torch.zeros(())).device
        self._half = {"auto": None, "float32": False, "bfloat16": True}[self.config.precision]
        self._measured, self._bytes_a_frame, self._budget = 0, 0.0, 0
        self._weights = torch.from_numpy(self.ladder.weights)

    def explain(self, utterances: Iterable[Utterance]) -> Iterator[Attribution]:
        """Attributions of all utterances, in their order.

        :raises UserError: for an utterance that cannot be explained, naming it, and for too small a memory budget.
        """
        waiting = iter(utterances)
        while window := list(islice(waiting, self.rows)):
            for found in self._explain_window(window):
                self.convergence.add(found.name, found.nodes, found.error, found.gradients)
                yield found

    def levels(self, utterances: Iterable[Utterance]) -> Iterator[list[Attribution]]:
        """Each utterance's attribution at every level of the ladder, whatever its error: to choose a rule by."""
        for utterance in utterances:
            window = self._window([utterance])
            sums = self._sums(window)
            for level in range(len(self.ladder.stops)):
                self._climb(window, [0], level, sums, self._is_half(window))
            change = float(self._change(window)[0])
            yield [self._result(utterance, total, change, level) for level, total in enumerate(sums[0])]

    # One window

    def _explain_window(self, utterances: list[Utterance]) -> list[Attribution]:
        order = sorted(range(len(utterances)), key=lambda i: len(utterances[i].features))
        window = self._window([utterances[i] for i in order])
        half = self._is_half(window)
        found = self._settle([utterances[i] for i in order], window, list(range(len(order))), half)
        failing = [row for row, one in found.items() if not one.converged]
        if half and failing:  # what bf16 leaves open is for fp32 to decide
            spent = {row: found[row].gradients for row in failing}
            found |= self._settle([utterances[i] for i in order], window, failing, False)
            found |= {row: replace(found[row], gradients=found[row].gradients + n) for row, n in spent.items()}
        place = {index: row for row, index in enumerate(order)}
        return [found[place[index]] for index in range(len(utterances))]

    def _settle(
        self, utterances: list[Utterance], window: _Window, active: list[int], half: bool
    ) -> dict[int, Attribution]:
        """Climb with the active rows, letting each go where it is complete, or at the top."""
        change, sums = self._change(window), self._sums(window)
        found = {}
        for level in range(len(self.ladder.stops)):
            self._climb(window, active, level, sums, half)
            for row in active:
                found[row] = self._result(utterances[row], sums[row, level], float(change[row]), level)
            active = [row for row in active if not found[row].converged]
        return found

    def _change(self, window: _Window) -> Tensor:
        """F(x) - F(x') of each row, (B,)."""
        return self._values(window, window.features) - self._values(window, window.baselines)

    def _sums(self, window: _Window) -> Tensor:
        """A map a row and level, zero: (B, levels, T) or (B, levels, T, F)."""
        rows, *shape = window.features.shape[: 2 if self.config.resolution == "frame" else 3]
        return window.features.new_zeros((rows, len(self.ladder.stops), *shape))

    def _result(self, utterance: Utterance, total: Tensor, change: float, level: int) -> Attribution:
        own = total[: len(utterance.features)].clone()
        error = abs(float(own.double().sum()) - change) / max(abs(change), SMALLEST_CHANGE)
        if not np.isfinite(error):
            raise UserError(f"{utterance.name}: the teacher's output holds NaN or infinite values: check its weights")
        converged = error <= self.config.tolerance
        nodes = int((self.ladder.weights[level] != 0).sum())
        kept = converged or self.config.policy == "keep"
        return Attribution(utterance.name, own, change, error, nodes, self.ladder.stops[level], converged, kept)

    def _window(self, utterances: list[Utterance]) -> _Window:
        features, baselines, targets = [], [], []
        for utterance in utterances:
            self._check(utterance)
            baselines.append(self._baseline_of(utterance).to(self.device))
            features.append(utterance.features.to(self.device))
            targets.append(self.quantity.target(self.model, utterance.target, utterance.name).to(self.device))
        x, start = (torch.nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (features, baselines))
        ends = (self.path.coordinates(start), self.path.coordinates(x))
        lengths = torch.tensor([len(one) for one in features], device=self.device)
        return _Window(x, start, ends, lengths, torch.stack(targets))

    def _check(self, utterance: Utterance) -> None:
        name, features = utterance.name, utterance.features
        dim = getattr(self.model.frontend, "dim", None)
        if features.ndim != 2 or dim not in (None, features.shape[-1]):
            raise UserError(f"{name}: features of shape {tuple(features.shape)}: the teacher takes (frames, {dim})")
        shortest = self.model.min_frames
        if len(features) < shortest:
            raise UserError(
                f"{name}: {len(features)} frames, but the teacher's receptive field needs {shortest}:"
                " leave the utterance out or lengthen it"
            )
        if not torch.isfinite(features).all():
            raise UserError(f"{name}: its features hold NaN or infinite values: check the audio")

    def _baseline_of(self, utterance: Utterance) -> Tensor:
        features = utterance.features
        baseline = utterance.baseline
        if baseline is None:
            frames = len(features) if utterance.frames is None else utterance.frames
            baseline = self.baseline(features, frames)
        if baseline.shape != features.shape:
            raise UserError(
                f"{utterance.name}: baseline of shape {tuple(baseline.shape)} for features of shape"
                f" {tuple(features.shape)}: give one of the same shape"
            )
        if not torch.isfinite(baseline).all():
            raise UserError(f"{utterance.name}: its baseline holds NaN or infinite values")
        return baseline

    # Values and gradients, in chunks

    def _values(self, window: _Window, points: Tensor) -> Tensor:
        """F of each row, (B,) float64, computed in full precision."""
        parts = [slice(first, first + self.rows) for first in range(0, len(points), self.rows)]
        values = [self.function.values(points[p], window.lengths[p], window.targets[p]) for p in parts]
        return torch.cat(values)

    def _is_half(self, window: _Window) -> bool:
        """Whether gradients are taken in bf16: as configured, or as a trial on the first window says."""
        if self._half is None:
            if window.features.dtype != torch.float32:
                self._half = False
            else:
                rows = slice(-self._chunk_rows(window, int(window.lengths[-1])), None)
                points = (window.features[rows] + window.baselines[rows]) / 2
                self.agreement = self.function.agreement(points, window.lengths[rows], window.targets[rows])
                self._half = self.agreement.pays
        return self._half

    def _climb(self, window: _Window, active: list[int], level: int, sums: Tensor, half: bool) -> None:
        """Add a level's new nodes of the active rows to the sums of this level and of all above it."""
        todo = [(row, node) for row in active for node in self.ladder.fresh(level)]
        while todo:
            longest = int(window.lengths[[row for row, _ in todo[: self.rows]]].max())
            size = min(len(todo), self._chunk_rows(window, longest))
            rows = torch.tensor([row for row, _ in todo[:size]], device=self.device)
            nodes = torch.tensor([node for _, node in todo[:size]])
            try:
                parts = self._contributions(window, rows, self._alphas(nodes, window), half)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(size, error)
                continue
            self._accumulate(parts, rows, nodes, level, sums)
            todo = todo[size:]

    def _alphas(self, nodes: Tensor, window: _Window) -> Tensor:
        return torch.from_numpy(self.ladder.alphas)[nodes].to(window.features)[:, None, None]

    def _contributions(self, window: _Window, rows: Tensor, alphas: Tensor, half: bool) -> Tensor:
        """grad F * dx/dalpha of each (row, alpha): (R, T) or (R, T, F), one forward and one backward for all."""
        frames = int(window.lengths[rows].max())
        start, end = (side[rows, :frames] for side in window.ends)
        points = self.path.at(start, end, alphas)
        if len(rows) == self.rows:
            self.function.compile_for(points.shape)
        gradient = self.function.gradient(points, window.lengths[rows], window.targets[rows], half)
        parts = gradient.mul_(self.path.velocity(points.detach(), start, end))
        return parts.sum(2) if self.config.resolution == "frame" else parts

    def _accumulate(self, parts: Tensor, rows: Tensor, nodes: Tensor, level: int, sums: Tensor) -> None:
        weights = self._weights[level:, nodes].to(parts)  # (levels, R)
        owners, counts = torch.unique_consecutive(rows, return_counts=True)
        first = 0
        for row, count in zip(owners.tolist(), counts.tolist(), strict=True):
            own = slice(first, first + count)
            sums[row, level:, : parts.shape[1]] += torch.tensordot(weights[:, own], parts[own], dims=1)
            first += count

    def _chunk_rows(self, window: _Window, frames: int) -> int:
        """Rows of ``frames`` frames that the budget holds, and no more than were asked for."""
        if frames > self._measured:
            self._budget = self._budget or self._memory()
            self._bytes_a_frame = max(self._bytes_a_frame, self._measure(window))
            self._measured = int(window.lengths[-1])
        fitting = rows_within(self._budget, self._bytes_a_frame * frames, f"an utterance of {frames} frames")
        return min(self.rows, fitting)

    def _memory(self) -> int:
        if self.config.memory:
            return parse_memory(self.config.memory)
        return int(SHARE_OF_FREE * free_memory(self.device))

    def _measure(self, window: _Window) -> float:
        """Bytes that a frame of a row takes, by one forward pass of the window's longest utterance."""
        frames = int(window.lengths[-1])
        points = window.features[-1:].clone().requires_grad_()

        def step() -> Tensor:
            return self.function.graph(points, window.lengths[-1:], window.targets[-1:], half=False)

        return max(saved_bytes(step), points.numel() * points.element_size()) / frames

    def _halve(self, size: int, error: Exception) -> None:
        """Out of memory: smaller chunks from now on."""
        if size == 1:
            raise UserError("out of memory at one gradient at a time: shorten the segments or free memory") from error
        self.rows = size // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass
class Explanation:
    """Attribution of a batch.

    :param attribution: (B, T, F), zero where input and baseline agree.
    :param error: (B,) completeness error |sum A - (F(x) - F(x'))| / |F(x) - F(x')|.
    """

    attribution: Tensor
    error: Tensor


def mean_frame_baseline(features: Tensor, frames: int) -> Tensor:
    """Each row's mean over its first ``frames`` frames; what follows (a front-end's padding) stays as it is."""
    baseline = features.clone()
    baseline[:, :frames] = features[:, :frames].mean(1, keepdim=True)
    return baseline


def explain(
    model: SpeakerModel,
    features: Tensor,
    labels: Tensor,
    frames: int,
    config: RelevanceConfig,
    names: Sequence[str] | None = None,
) -> Explanation:
    """Explain the cosine to each row's own class, on the straight path from its mean frame.

    :param features: (B, T, F) of the model's own front-end.
    :param labels: (B,) class indexes in the model's head.
    :param frames: valid frames, the same for all rows.
    :param names: of the rows, for messages.
    """
    rule = {"gausslegendre": "gauss-legendre", "riemann_middle": "midpoint"}.get(config.rule, config.rule)
    fixed = IntegrationConfig(
        rule=rule,
        power=1.0,
        nodes=config.nodes,
        max_nodes=config.nodes,
        resolution="time-frequency",
        precision="float32",
        fold=False,
    )
    engine = IntegratedGradients(model, fixed)
    rows = zip(names or map(str, range(len(features))), features, labels.tolist(), strict=True)
    found = list(engine.explain(Utterance(*row, frames=frames) for row in rows))
    error = torch.tensor([one.error for one in found])
    return Explanation(torch.stack([one.map for one in found]).float(), error)
