"""The files that a student was exported as, and what each lost: from ``export/export.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imlkd.errors import UserError
from imlkd.reporting.page.tables import Cell, Table, number, percent
from imlkd.scoring.intervals import Interval

SUMMARY = "export/export.json"
COLUMNS = (
    "variant", "EER [95 %]", "minus fp32 [95 %]", "p", "cosine distance to fp32, at most", "size",
    "2 s on one core", "real-time factor", "peak memory",
)  # fmt: skip


def export_tables(folder: Path) -> tuple[dict[str, Table], list[str]]:
    """By trial list (an empty name without any) a row a variant; and the names of all files. Both empty without export.

    :raises UserError: for a damaged summary.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return {}, []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        variants = content["variants"]
        lists = list(dict.fromkeys(name for one in variants for name in one["lists"])) or [""]
        tables = {name: Table(COLUMNS, [_row(one, name) for one in variants]) for name in lists if variants}
        return tables, [str(name) for name in content["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged: export again (./run.sh --stage 7 --export onnx --force true)") from error


def _row(one: dict[str, Any], name: str) -> list[Cell]:
    scored = one["lists"].get(name)
    eer = scored["eer"] if scored else None
    lost = scored["difference"] if scored else None
    dash = Cell("-")
    return [
        Cell(one["variant"] + (" (refused)" if one["refused"] else "")),
        percent(eer["value"], _interval(eer["interval"])) if eer else dash,
        percent(lost["difference"], _interval(lost["interval"]), "+") if lost else dash,
        Cell(f"{lost['p']:.3g}", lost["p"]) if lost else dash,
        number(one["farthest"], ".2g") if one["lists"] else dash,
        number(one["size_mb"], ".2f", " MB"),
        number(one["latency_ms"], ".2f", " ms"),
        number(one["rtf"], ".5f"),
        number(one["memory_mb"], ".0f", " MB"),
    ]


def _interval(bounds: dict[str, float] | None) -> Interval | None:
    return Interval(bounds["low"], bounds["high"]) if bounds else None
