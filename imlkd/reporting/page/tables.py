"""Tables of a page: cells that know the number they are sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imlkd.scoring.compare import Difference
from imlkd.scoring.intervals import Interval
from imlkd.scoring.metrics import Costs

PRIOR = 0.01  # of a target, in minDCF
COSTS = Costs((PRIOR,))


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number it is sorted by; texts are sorted as texts."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells below named columns.

    :param note: a line below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def percent(value: float, interval: Interval | None = None, sign: str = "") -> Cell:
    """A fraction as percent, with its interval."""
    bounds = f" [{100 * interval.low:{sign}.2f}, {100 * interval.high:{sign}.2f}]" if interval else ""
    return Cell(f"{100 * value:{sign}.2f} %{bounds}", value)


def number(value: float, form: str, unit: str = "", scale: float = 1.0) -> Cell:
    """A number in a form of its own; one that is not finite is a dash."""
    if not math.isfinite(value):
        return Cell("-")
    return Cell(f"{value / scale:{form}}{unit}", value)


def p_value(difference: Difference) -> Cell:
    """p after Holm's correction."""
    return Cell(f"{difference.p_holm:.3g}", difference.p_holm)


def cost_difference(found: Difference) -> Cell:
    """The difference of two normalised costs."""
    low, high = found.interval.low, found.interval.high
    return Cell(f"{found.difference:+.3f} [{low:+.3f}, {high:+.3f}]", found.difference)


def share(value: float | None, interval: Interval | None = None) -> Cell:
    """A share of the gap to the teacher, with its interval; None: there is no gap."""
    if value is None:
        return Cell("no gap")
    bounds = f" [{100 * interval.low:.0f}, {100 * interval.high:.0f}]" if interval else ""
    return Cell(f"{100 * value:.0f} %{bounds}", value)
