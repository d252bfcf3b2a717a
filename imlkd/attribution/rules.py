"""Nodes and weights of the integral over the path, and the ladders of ever finer rules that an utterance climbs.

The substitution ``alpha = u^p`` packs nodes near the baseline, where the integrand of a power-mel teacher is steep; the
weights then hold ``p u^(p-1)``, and every rule's weights sum to 1 (captum's trapezoid: to 1 - 1/n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

from imlkd.errors import UserError

Floats = npt.NDArray[np.float64]
ADAPTIVE = "adaptive"  # pieces of the trapezoid rule, halved where the path is rough: integrals.Subdivision
PATTERSON = "gauss-patterson"
FIXED = ("clenshaw-curtis", "trapezoid", "gauss-legendre", "midpoint", PATTERSON)
RULES = (ADAPTIVE, *FIXED)
NESTED = ("clenshaw-curtis", "trapezoid", PATTERSON)
PATTERSON_SIZES = (1, 3, 7, 15, 31, 63)


@dataclass(frozen=True)
class Ladder:
    """Rules of growing size over one list of nodes.

    :param alphas: (N,) places on the path, 0 at the baseline and 1 at the input, in the order they are needed.
    :param weights: (levels, N); a row sums to 1 and is zero on what its rule does not use.
    :param stops: level l needs ``alphas[:stops[l]]``, of which ``alphas[stops[l - 1]:stops[l]]`` are new.
    """

    alphas: Floats
    weights: Floats
    stops: list[int]

    def fresh(self, level: int) -> range:
        """Indexes of the nodes that a level adds."""
        return range(self.stops[level - 1] if level else 0, self.stops[level])


def nodes_and_weights(rule: str, nodes: int, power: float = 1.0) -> tuple[Floats, Floats]:
    """One rule on [0, 1] as (alphas, weights), in the order of alpha.

    Clenshaw-Curtis and trapezoid of ``nodes`` intervals have ``nodes`` + 1 places; Clenshaw-Curtis gives the one at the
    baseline no weight, and it is left out, when ``power`` exceeds 1.
    """
    if rule == "midpoint":
        places = (np.arange(nodes) + 0.5) / nodes
        return places**power, np.diff((np.arange(nodes + 1) / nodes) ** power)
    if rule == "trapezoid":
        places = (np.arange(nodes + 1) / nodes) ** power
        around = np.concatenate([places[:1], places, places[-1:]])
        return places, (around[2:] - around[:-2]) / 2
    if rule == "gauss-legendre":
        places, weights = legendre.leggauss(nodes)
        places, weights = (places + 1) / 2, weights / 2
    elif rule == "clenshaw-curtis":
        places, weights = clenshaw_curtis(nodes)
    elif rule == PATTERSON:
        places, weights = gauss_patterson(nodes)
    else:
        raise UserError(f"rule {rule!r}: expected one of {', '.join(RULES)}")
    weights = weights * power * places ** (power - 1)
    used = weights != 0
    return places[used] ** power, weights[used]


def clenshaw_curtis(intervals: int) -> tuple[Floats, Floats]:
    """Places sin^2(pi k / 2n), k = 0..n, and weights on [0, 1], n even.

    The weights integrate the cosine interpolant (Clenshaw, Curtis, Numerische Mathematik 2, 1960; in the form of
    Trefethen, SIAM Review 50, 2008, eq. 2.4 ff.); with 2n intervals every old place comes again.
    """
    if intervals < 2 or intervals % 2:
        raise UserError(f"nodes {intervals}: clenshaw-curtis needs an even number, 2 at least")
    order = np.arange(intervals + 1)
    even = np.arange(0, intervals + 1, 2)
    moments = 2.0 / (1.0 - even.astype(float) ** 2)  # integral of T_j over [-1, 1]
    ends = np.where((even == 0) | (even == intervals), 0.5, 1.0)
    cosines = np.cos(np.pi * np.outer(order, even) / intervals)
    weights = (2.0 / intervals) * (cosines * (ends * moments)).sum(1)
    weights[[0, -1]] /= 2.0
    return np.sin(np.pi * order / (2 * intervals)) ** 2, weights / 2.0


def gauss_patterson(nodes: int) -> tuple[Floats, Floats]:
    """Places and weights on [0, 1] of 1, 3, 7, 15, 31 or 63 nodes, each rule with the places of the one before.

    Gauss's rule of 3 nodes, extended as far as it will go: the n + 1 new places of n are the roots of the polynomial E
    with ``integral of E G P_k = 0`` for k <= n, where G vanishes on the old ones (Patterson, "The optimum addition of
    points to quadrature formulae", Mathematics of Computation 22, 1968). Exact to degree (3n + 1) / 2 from 3 nodes on.
    """
    if nodes not in PATTERSON_SIZES:
        raise UserError(f"nodes {nodes}: {PATTERSON} has {', '.join(map(str, PATTERSON_SIZES))} of them")
    places: Floats = legendre.leggauss(min(nodes, 3))[0]
    while len(places) < nodes:
        places = np.sort(np.concatenate([places, _added(places)]))
    moments = np.zeros(nodes)
    moments[0] = 1.0  # over [-1, 1], halved
    return (places + 1) / 2, np.asarray(np.linalg.solve(legendre.legvander(places, nodes - 1).T, moments), np.float64)


def _added(places: Floats) -> Floats:
    """The places on [-1, 1] that extend a rule of these."""
    count = len(places)
    at, weights = legendre.leggauss(2 * count + 2)
    vanishing = np.prod(2 * (at[:, None] - places), axis=1)  # scaled, so that products of many stay in range
    polynomials = legendre.legvander(at, count + 1)
    products = polynomials[:, : count + 1].T @ ((weights * vanishing)[:, None] * polynomials)
    coefficients = np.append(np.linalg.solve(products[:, :-1], -products[:, -1]), 1.0)
    return np.sort(legendre.legroots(coefficients).real)


def ladder(rule: str, first: int, cap: int, power: float = 1.0) -> Ladder:
    """Rules of ``first``, twice, four times ... as many nodes, up to ``cap``; a nested rule lists each place once."""
    sizes, extra = [first], int(rule == PATTERSON)
    while sizes[-1] * 2 + extra <= cap:
        sizes.append(sizes[-1] * 2 + extra)
    parts = [nodes_and_weights(rule, size, power) for size in sizes]
    alphas: list[float] = []
    stops, columns = [], []
    for places, _ in parts:
        known = {_key(alpha): i for i, alpha in enumerate(alphas)} if rule in NESTED else {}
        column = []
        for alpha in places:
            column.append(known.get(_key(alpha), len(alphas)))
            if column[-1] == len(alphas):
                alphas.append(float(alpha))
        columns.append(column)
        stops.append(len(alphas))
    table = np.zeros((len(sizes), len(alphas)))
    for level, (column, (_, weights)) in enumerate(zip(columns, parts, strict=True)):
        table[level, column] = weights
    return Ladder(np.array(alphas), table, stops)


def _key(alpha: float) -> int:
    """The same place computed at two sizes differs in its last digits."""
    return round(float(alpha) * 2**44)
