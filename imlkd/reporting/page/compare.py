"""Two experiments side by side: models of both, on the trials that both have scored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from imlkd.errors import UserError
from imlkd.reporting.page.document import write_page
from imlkd.reporting.page.scored import Scored, read_scored
from imlkd.reporting.page.tables import PRIOR, Cell, Table, cost_difference, p_value, percent
from imlkd.reporting.results import config_hash
from imlkd.reporting.table import text_table
from imlkd.scoring.compare import Comparison, holm

FIRST, SECOND = "first", "second"
COLUMNS = (
    "first", "second", "EER, first", "EER, second", "EER, first - second [95 %]", "p (Holm)",
    f"minDCF({PRIOR}), first - second [95 %]", "settings",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two models that are compared."""

    first: Path
    second: Path

    @property
    def settings(self) -> str:
        """Whether both were trained by the same configuration."""
        return "same" if config_hash(self.first) == config_hash(self.second) else "differ"

    @property
    def names(self) -> tuple[str, str]:
        """Paths without what both have in front."""
        folders = [folder.absolute() for folder in (self.first, self.second)]
        common = os.path.commonpath([folder.parent for folder in folders])
        first, second = (str(folder.relative_to(common)) for folder in folders)
        return first, second


def compare_experiments(first: Path, second: Path, data: Path, draws: int, out: Path | None = None) -> str:
    """Compare two models, or the models of the same names in two folders; returns the tables as text.

    :param data: folder of the prepared sets, for trials and speakers.
    :param out: also write a page there.
    :raises UserError: where the two have no model or no scored list in common, or scores are not of the same trials.
    """
    if out is not None and out.suffix != ".html":
        raise UserError(f"{out}: a page: let the name end in .html")
    pairs = pairs_of(first, second)
    names = lists_of(pairs, data)
    tables: dict[str, Table] = {}
    det: dict[str, Markup] = {}
    for name in names:
        own = [pair for pair in pairs if _scores(pair.first, name).is_file() and _scores(pair.second, name).is_file()]
        scored = [read_scored(data, {FIRST: pair.first, SECOND: pair.second}, name, draws) for pair in own]
        tables[name] = _table(own, _compared(scored, name))
        if out is not None:
            det[name] = _chart(name, own, scored)
    if out is not None:
        write_page(out, "compare.html", first=str(first), second=str(second), tables=tables, det=det)
    printed = [f"{name}\n{_text(table)}" for name, table in tables.items()]
    return "\n\n".join([*printed, *([f"also in {out}"] if out else [])])


def pairs_of(first: Path, second: Path) -> list[Pair]:
    """The models that belong together."""
    for folder in (first, second):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: name exp/MODEL, or a folder of models")
    if (first / "scores").is_dir() and (second / "scores").is_dir():
        return [Pair(first, second)]
    names = [
        {path.parent.name for path in folder.glob("*/scores") if path.is_dir()} for folder in (first, second)
    ]
    common = sorted(names[0] & names[1])
    if not common:
        raise UserError(f"{first}, {second}: no scored models of one name in both: run stage 6, or name two models")
    return [Pair(first / name, second / name) for name in common]


def lists_of(pairs: Sequence[Pair], data: Path) -> list[str]:
    """Lists (``set/list``) with scores by both models of a pair, and trials below ``data``."""
    both: list[str] = []
    for pair in pairs:
        found = [
            {str(path.relative_to(folder / "scores")) for path in (folder / "scores").glob("*/*") if _is_list(path)}
            for folder in (pair.first, pair.second)
        ]
        both += sorted(found[0] & found[1])
    if not both:
        raise UserError(f"{pairs[0].first}, {pairs[0].second}: no list that both have scored: run stage 6 of both")
    there = [name for name in dict.fromkeys(both) if (data / name).is_file()]
    if not there:
        raise UserError(f"{data / both[0]}: no such trial list: name the folder of the prepared sets with --data-dir")
    return there


def _is_list(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _scores(folder: Path, name: str) -> Path:
    return folder / "scores" / name


def _compared(scored: Sequence[Scored], name: str) -> list[Comparison]:
    """Of each pair, p corrected for all of them."""
    found = [one for pair in scored for one in pair.drawn.compare()]
    if len(found) < len(scored):
        raise UserError(f"{name}: no draw of its speakers has both kinds of trials: raise --bootstrap")
    corrected = holm([one.eer.p for one in found])
    return [replace(one, eer=replace(one.eer, p_holm=p)) for one, p in zip(found, corrected, strict=True)]


def _table(pairs: Sequence[Pair], found: Sequence[Comparison]) -> Table:
    rows = [
        [
            *map(Cell, pair.names), percent(one.eer.first), percent(one.eer.second),
            percent(one.eer.difference, one.eer.interval, "+"), p_value(one.eer),
            cost_difference(one.min_dcf[PRIOR]), Cell(pair.settings),
        ]
        for pair, one in zip(pairs, found, strict=True)
    ]  # fmt: skip
    few = "; few speakers: a hint only" if found[0].few_speakers else ""
    return Table(COLUMNS, rows, f"{found[0].draws} draws of {found[0].speakers} speakers, both on the same{few}.")


def _chart(name: str, pairs: Sequence[Pair], scored: Sequence[Scored]) -> Markup:
    from imlkd.reporting.page.charts import det_chart

    systems = {
        system: lists
        for pair, own in zip(pairs, scored, strict=True)
        for system, lists in zip(pair.names, own.targets.values(), strict=True)
    }
    return det_chart(name, systems, "")


def _text(table: Table) -> str:
    return text_table(table.columns, [[cell.text for cell in row] for row in table.rows]) + f"\n{table.note}"
