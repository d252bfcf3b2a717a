"""Options and lines that `imlkd evaluate` and `imlkd compare` share: what is measured, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imlkd.scoring.evaluate import Choices
    from imlkd.scoring.intervals import Interval

PRIOR = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
COST = click.FloatRange(min=0, min_open=True)
PRIORS = (0.01, 0.001, 0.05)
KINDS = click.Choice(["corrected", "bca", "percentile"])
OPTIONS = (
    click.option("--p-target", type=PRIOR, multiple=True, default=PRIORS, help="Priors of a target, for DCFs."),
    click.option("--c-miss", type=COST, default=1.0, help="Cost of a missed target."),
    click.option("--c-fa", type=COST, default=1.0, help="Cost of a false alarm."),
    click.option("--llr", is_flag=True, help="Scores are natural log-likelihood ratios: actDCF and Cllr as well."),
    click.option("--interval", type=KINDS, default="corrected", help="Kind of the intervals."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the draws."),
)


def measure_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that ``choices_of`` takes, but for --bootstrap."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def choices_of(
    p_target: tuple[float, ...], c_miss: float, c_fa: float, llr: bool, bootstrap: int, interval: str, seed: int
) -> Choices:
    """What the options ask for; a prior that is given twice counts once."""
    from imlkd.scoring.evaluate import Choices
    from imlkd.scoring.metrics import Costs

    return Choices(Costs(tuple(dict.fromkeys(p_target)), c_miss, c_fa), llr, bootstrap, seed, interval)


def drawn(draws: int, units: str, interval: str, few_speakers: bool) -> str:
    """The line that says what the intervals are."""
    kind = {"bca": ", BCa", "percentile": ", percentiles"}.get(interval, "")
    mark = " (fewer than 20: the intervals are a hint only)" if few_speakers else ""
    return f"intervals     95 %{kind}, {draws} draws of {units}{mark}"


def bounds(interval: Interval | None, scale: float, form: str) -> str:
    """An interval in brackets, two spaces before it; nothing where there is none."""
    return f"  [{scale * interval.low:{form}}, {scale * interval.high:{form}}]" if interval else ""
