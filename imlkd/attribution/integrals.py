"""Maps in the making: where a path is to be visited next, and the weighted sum of what was found there.

Two ways to go on where a map is not complete: all of it again with twice the nodes (:class:`Rungs`), or more nodes just
where the path is rough (:class:`Subdivision`). What ``F`` itself changes over a piece of the path is known from the
forward passes, so the error of each piece is measured, not estimated.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.rules import ADAPTIVE, Floats, Ladder, ladder

WORST = 0.1  # pieces with at least this share of the largest error are halved together


class Integral(Protocol):
    """The integral of one utterance's ``grad F * dx/dalpha`` over alpha."""

    gradients: int  # that were added

    def ahead(self) -> list[float]:
        """Places to visit next; none when the rule is at its end. All of them are added before the next call."""

    def add(self, alphas: Sequence[float], values: Sequence[float], parts: Tensor) -> None:
        """``F`` and (n, T) or (n, T, F) contributions at some of these places, in their order."""

    def sum(self) -> float:
        """Of the map, over everything."""

    def map(self) -> Tensor:
        """(T,) or (T, F)."""

    def nodes(self) -> int:
        """Gradients that the map is made of."""

    def change(self) -> float | None:
        """F at the input less F at the baseline, where both were visited."""


class _Ends:
    """F at both ends of the path, once they were visited."""

    def __init__(self) -> None:
        self.gradients = 0
        self._ends: dict[float, float] = {}

    def note(self, alphas: Sequence[float], values: Sequence[float]) -> None:
        self.gradients += len(alphas)
        self._ends |= {a: v for a, v in zip(alphas, values, strict=True) if a in (0.0, 1.0)}

    def change(self) -> float | None:
        return self._ends[1.0] - self._ends[0.0] if len(self._ends) == 2 else None


class Rungs(_Ends):
    """A ladder of rules: a sum for each, added to whenever a place that it uses is visited."""

    def __init__(self, rules: Ladder) -> None:
        super().__init__()
        self._ladder = rules
        self._level = -1
        self._sums: Tensor | None = None  # (levels, T) or (levels, T, F)

    def ahead(self) -> list[float]:
        if self._level + 1 == len(self._ladder.stops):
            return []
        self._level += 1
        return self._ladder.alphas[self._ladder.fresh(self._level)].tolist()  # type: ignore[no-any-return]

    def add(self, alphas: Sequence[float], values: Sequence[float], parts: Tensor) -> None:
        if self._sums is None:
            self._sums = parts.new_zeros((len(self._ladder.stops), *parts.shape[1:]))
        own = slice(self.gradients, self.gradients + len(alphas))
        weights = torch.from_numpy(self._ladder.weights[self._level :, own]).to(parts)
        self._sums[self._level :] += torch.tensordot(weights, parts, dims=1)
        self.note(alphas, values)

    def map(self) -> Tensor:
        assert self._sums is not None
        return self._sums[self._level].clone()

    def sum(self) -> float:
        assert self._sums is not None
        return float(self._sums[self._level].double().sum())

    def nodes(self) -> int:
        return int((self._ladder.weights[self._level] != 0).sum())


class Subdivision(_Ends):
    """The trapezoid rule on pieces of the path; the worst are halved, so that nothing is computed twice.

    :param first: even pieces (in u, with alpha = u^power) to begin with.
    :param cap: most of them.
    """

    def __init__(self, first: int, cap: int, power: float) -> None:
        super().__init__()
        self._first, self._cap, self._power = first, cap, power
        self._alphas: list[float] = []
        self._values: list[float] = []
        self._slopes: list[float] = []  # dF/dalpha, the sum of a part
        self._parts: list[Tensor] = []

    def ahead(self) -> list[float]:
        if not self._alphas:
            return [(k / self._first) ** self._power for k in range(self._first + 1)]
        alphas = np.array(self._alphas)
        errors = np.abs(self._errors())
        worst = np.argsort(-errors, kind="stable")[: self._cap - len(errors)]
        worst = worst[errors[worst] >= WORST * errors.max()]
        return sorted(((alphas[worst] + alphas[worst + 1]) / 2).tolist())

    def _errors(self) -> Floats:
        """Of each piece: the trapezoid less what F really changes."""
        slopes = np.array(self._slopes)
        errors: Floats = np.diff(self._alphas) * (slopes[1:] + slopes[:-1]) / 2 - np.diff(self._values)
        return errors

    def add(self, alphas: Sequence[float], values: Sequence[float], parts: Tensor) -> None:
        slopes = parts.flatten(1).sum(1, dtype=torch.float64).tolist()
        for found in zip(alphas, values, slopes, parts, strict=True):
            place = bisect(self._alphas, found[0])
            for own, one in zip((self._alphas, self._values, self._slopes, self._parts), found, strict=True):
                own.insert(place, one)  # type: ignore[attr-defined]
        self.note(alphas, values)

    def _weights(self) -> Floats:
        around = np.concatenate([self._alphas[:1], self._alphas, self._alphas[-1:]])
        weights: Floats = (around[2:] - around[:-2]) / 2
        return weights

    def map(self) -> Tensor:
        parts = torch.stack(self._parts)
        whole: Tensor = torch.tensordot(torch.from_numpy(self._weights()).to(parts), parts, dims=1)
        return whole

    def sum(self) -> float:
        return float(self._weights() @ np.array(self._slopes))

    def nodes(self) -> int:
        return len(self._alphas)


def integrals(rule: str, nodes: int, max_nodes: int, power: float) -> Callable[[], Integral]:
    """What begins an integral by a rule."""
    if rule == ADAPTIVE:
        return lambda: Subdivision(nodes, max_nodes, power)
    rules = ladder(rule, nodes, max_nodes, power)
    return lambda: Rungs(rules)
