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
- Nodes are added, only for the utterances whose completeness error exceeds ``tolerance``, until ``max_nodes``: where
  the path is rough (``rule="adaptive"``), or twice as many everywhere. With that rule, and with those that nest, no
  gradient is computed twice. What fails at ``max_nodes`` comes out with ``converged=False``, and ``kept=False`` when
  the policy is ``exclude``; the caller leaves it out.
- With ``max_nodes == nodes`` the rule is fixed and the maps are captum's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.baselines import Baseline, mean_frame
from imlkd.attribution.convergence import SMALLEST_CHANGE, Convergence
from imlkd.attribution.gradients import Agreement, TeacherFunction
from imlkd.attribution.integrals import Integral, integrals
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
from imlkd.attribution.quantities import Quantity, TargetCosine
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.window import Utterance, Window, window_of
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel

__all__ = ["Attribution", "Explanation", "IntegratedGradients", "Utterance", "explain"]


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
        if model.is_opaque:
            raise UserError("this model gives no gradient, which Integrated Gradients are made of")
        self.model = model
        self.quantity = quantity or TargetCosine()
        self.function = TeacherFunction(model, self.quantity, self.config.fold, self.config.compile)
        self.baseline = baseline
        self.path = Path(self.config.path)
        self.begin = integrals(self.config.rule, self.config.nodes, self.config.max_nodes, self.config.power)
        self.convergence = Convergence(self.config.tolerance, self.config.policy, self.config.max_failing)
        self.rows = self.config.rows
        self.agreement: Agreement | None = None  # of bf16 with fp32, once it is measured
        self.device = next(model.parameters(), torch.zeros(())).device
        self._measured, self._bytes_a_frame, self._budget = 0, 0.0, 0

    def explain(self, utterances: Iterable[Utterance]) -> Iterator[Attribution]:
        """Attributions of all utterances, in their order.

        :raises UserError: for an utterance that cannot be explained, naming it, and for too small a memory budget.
        """
        waiting = iter(utterances)
        while together := list(islice(waiting, self.rows)):
            for found in self._explain_together(together):
                self.convergence.add(found.name, found.nodes, found.error, found.gradients)
                yield found

    def slopes(self, utterance: Utterance, alphas: Sequence[float]) -> tuple[list[float], list[float]]:
        """F and dF/dalpha at places of an utterance's path, in fp32: to choose a path and a rule by."""
        window, values, slopes = self._window([utterance]), [], []
        for first in range(0, len(alphas), self._chunk_rows(window, len(utterance.features))):
            places = [(0, alpha) for alpha in alphas[first : first + self._chunk_rows(window, len(utterance.features))]]
            found, parts = self._contributions(window, places, half=False)
            values += found
            slopes += parts.flatten(1).sum(1, dtype=torch.float64).tolist()
        return values, slopes

    # Together: so many utterances at a time

    def _window(self, utterances: Sequence[Utterance]) -> Window:
        return window_of(utterances, self.model, self.quantity, self.baseline, self.path)

    def _explain_together(self, utterances: list[Utterance]) -> list[Attribution]:
        order = sorted(range(len(utterances)), key=lambda i: len(utterances[i].features))
        window = self._window([utterances[i] for i in order])
        half = self._is_half(window)
        found = self._settle(window, range(len(order)), half)
        failing = [row for row, one in found.items() if not one.converged]
        if half and failing:  # what bf16 leaves open is for fp32 to decide
            spent = {row: found[row].gradients for row in failing}
            found |= self._settle(window, failing, False)
            found |= {row: replace(found[row], gradients=found[row].gradients + n) for row, n in spent.items()}
        place = {index: row for row, index in enumerate(order)}
        return [found[place[index]] for index in range(len(utterances))]

    def _settle(self, window: Window, rows: Iterable[int], half: bool) -> dict[int, Attribution]:
        """Add nodes to these rows, letting each go where it is complete, or at the rule's end."""
        found: dict[int, Attribution] = {}
        active = {row: self.begin() for row in rows}
        change: dict[int, float] = {}
        while active:
            ahead = {row: integral.ahead() for row, integral in active.items()}
            self._visit(window, [(row, alpha) for row, alphas in ahead.items() for alpha in alphas], active, half)
            change = change or self._change(window, active, half)
            for row, integral in list(active.items()):
                complete = self._error(window, row, integral, change[row]) <= self.config.tolerance
                if complete or not ahead[row]:
                    found[row] = self._result(window, row, active.pop(row), change[row])
        return found

    def _change(self, window: Window, integrals: Mapping[int, Integral], half: bool) -> dict[int, float]:
        """F(x) - F(x') of these rows, in full precision: known where gradients were taken at both ends in it."""
        known = {row: None if half else integral.change() for row, integral in integrals.items()}
        change = {row: value for row, value in known.items() if value is not None}
        if rows := [row for row in known if row not in change]:
            values = self._values(window, window.features, rows) - self._values(window, window.baselines, rows)
            change |= dict(zip(rows, values.tolist(), strict=True))
        return change

    def _error(self, window: Window, row: int, integral: Integral, change: float) -> float:
        error = abs(integral.sum() - change) / max(abs(change), SMALLEST_CHANGE)
        if not np.isfinite(error):
            raise UserError(
                f"{window.names[row]}: the teacher's output holds NaN or infinite values: check its weights"
            )
        return error

    def _result(self, window: Window, row: int, integral: Integral, change: float) -> Attribution:
        error = self._error(window, row, integral, change)
        converged = error <= self.config.tolerance
        kept = converged or self.config.policy == "keep"
        nodes, gradients = integral.nodes(), integral.gradients
        return Attribution(window.names[row], integral.map(), change, error, nodes, gradients, converged, kept)

    # Values and gradients, in chunks

    def _values(self, window: Window, points: Tensor, rows: Sequence[int]) -> Tensor:
        """F of these rows, (R,) float64, computed in full precision."""
        parts = [list(rows[first : first + self.rows]) for first in range(0, len(rows), self.rows)]
        values = [self.function.values(points[p], window.lengths[p], window.targets[p]) for p in parts]
        return torch.cat(values)

    def _is_half(self, window: Window) -> bool:
        """Whether gradients are taken in bf16: as configured, or as a trial on the first window says."""
        if self.config.precision == "float32" or window.features.dtype != torch.float32:
            return False
        if self.agreement is None:
            rows = slice(-self._chunk_rows(window, int(window.lengths[-1])), None)
            points, wanted = (window.features[rows] + window.baselines[rows]) / 2, self.config.precision == "bfloat16"
            self.agreement = self.function.agreement(points, window.lengths[rows], window.targets[rows], wanted)
        return self.agreement.taken

    def _visit(
        self, window: Window, todo: list[tuple[int, float]], integrals: Mapping[int, Integral], half: bool
    ) -> None:
        """Add what is found at places (row, alpha), rows in order, to the rows' integrals."""
        while todo:
            longest = int(window.lengths[[row for row, _ in todo[: self.rows]]].max())
            size = min(len(todo), self._chunk_rows(window, longest))
            chunk, left = todo[:size], todo[size:]
            try:
                values, parts = self._contributions(window, chunk, half)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(size, error)
                continue
            first = 0
            for row, places in groupby(chunk, key=lambda place: place[0]):
                alphas = [alpha for _, alpha in places]
                own = slice(first, first + len(alphas))
                integrals[row].add(alphas, values[own], parts[own, : int(window.lengths[row])])
                first += len(alphas)
            todo = left

    def _contributions(
        self, window: Window, places: list[tuple[int, float]], half: bool
    ) -> tuple[list[float], Tensor]:
        """F and grad F * dx/dalpha of each (row, alpha): (R, T) or (R, T, F), one forward and one backward for all."""
        rows = torch.tensor([row for row, _ in places], device=self.device)
        alphas = torch.tensor([alpha for _, alpha in places], dtype=torch.float64).to(window.features)[:, None, None]
        frames = int(window.lengths[rows].max())
        start, end = (side[rows, :frames] for side in window.ends)
        points = self.path.at(start, end, alphas)
        if len(rows) == self.rows:
            self.function.compile_for(points.shape)
        values, gradient = self.function.gradient(points, window.lengths[rows], window.targets[rows], half)
        parts = gradient.mul_(self.path.velocity(points.detach(), start, end))
        return values.tolist(), parts.sum(2) if self.config.resolution == "frame" else parts

    def _chunk_rows(self, window: Window, frames: int) -> int:
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

    def _measure(self, window: Window) -> float:
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
