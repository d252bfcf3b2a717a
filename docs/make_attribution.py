#!/usr/bin/env python3
"""Write the tables of docs/attribution.md: `. ./path.sh && "$IMLKD_PYTHON" docs/make_attribution.py FOLDER`.

FOLDER holds the JSON files of the commands that stand beside the tables, NAME.json for the table of NAME; tables whose
file is not there stay as they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imlkd.reporting.table import markdown_table

PAGE = Path(__file__).parent / "attribution.md"
TABLE = re.compile(r"(<!-- (areas|maps|accuracy) of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
TITLES = {"top1": "top 1, %", "cosine": "cosine x 100", "target_cosine": "target cosine x 100", "eer": "EER, %"}
JUDGED = [(mode, rival) for mode in ("insertion", "deletion") for rival in ("random", "energy")]


def areas(found: dict[str, Any]) -> str:
    """A row a duration, mode and measure: areas by order, and the map's minus each control's."""
    header, rows = [], []
    for seconds, one in found["durations"].items():
        for mode in ("insertion", "deletion"):
            for measure, title in TITLES.items():
                if measure in one[mode]:
                    result = one[mode][measure]
                    first, *others = result["areas"]
                    rivals = [other for other in others if other in result["gaps"][first]]
                    header = ["s", "", "measure", first, *others, *(f"minus {rival}" for rival in rivals)]
                    gaps = [gap_of(result["gaps"][first][rival]) for rival in rivals]
                    rows.append([seconds, mode, title, *(f"{100 * a:.1f}" for a in result["areas"].values()), *gaps])
    return markdown_table(header, rows)


def maps(found: dict[str, Any]) -> str:
    """A row a duration and map: completeness, rank correlation, areas of the cosine minus the controls'."""
    first = next(iter(next(iter(found["durations"].values()))["completeness"]))
    header = ["s", "map", "median error", "over 5 %", "nodes", f"rank correlation with {short(first)}", "with energy"]
    header += [f"{mode} minus {rival}" for mode, rival in JUDGED]
    return markdown_table(header, list(map_rows(found, first)))


def map_rows(found: dict[str, Any], first: str) -> Iterator[list[str]]:
    """Rows of ``maps``."""
    for seconds, one in found["durations"].items():
        for name, complete in one["completeness"].items():
            failing = f"{complete['failing']} of {one['utterances']}"
            agreement = one["agreement"][name]
            gaps = [gap_of(one[mode]["cosine"]["gaps"][name][rival]) for mode, rival in JUDGED]
            yield [seconds, short(name), f"{100 * complete['median_error']:.1f} %", failing, f"{complete['nodes']:.0f}",
                   f"{agreement[first]:.2f}", f"{agreement['energy']:.2f}", *gaps]


def accuracy(found: dict[str, Any]) -> str:
    """A row a duration and map: areas of the top-1 accuracy, and those minus the controls'."""
    header, rows = ["s", "map"], []
    for mode in ("insertion", "deletion"):
        header += [f"{mode}: top 1, %", "minus energy", "minus random"]
    for seconds, one in found["durations"].items():
        for name in one["completeness"]:
            cells = [seconds, short(name)]
            for mode in ("insertion", "deletion"):
                result = one[mode]["top1"]
                gaps = [gap_of(result["gaps"][name][rival]) for rival in ("energy", "random")]
                cells += [f"{100 * result['areas'][name]:.1f}", *gaps]
            rows.append(cells)
    return markdown_table(header, rows)


KINDS = {"areas": areas, "maps": maps, "accuracy": accuracy}


def short(name: str) -> str:
    """Without whose map it is."""
    return name.split(":", 1)[-1]


def gap_of(gap: dict[str, Any]) -> str:
    """Difference and interval times 100, bold where the map is surely the better one, struck out where the worse."""
    low, high = gap["interval"]["low"], gap["interval"]["high"]
    text = f"{100 * gap['difference']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return {True: f"**{text}**", False: f"~~{text}~~", None: text}[gap["better"]]


def filled(page: str, folder: Path) -> str:
    """The page with its tables made anew."""

    def table(match: re.Match[str]) -> str:
        path = folder / f"{match[3]}.json"
        if not path.is_file():
            return match[0]
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"{match[1]}{KINDS[match[2]](found)}\n{match[4]}"

    return TABLE.sub(table, page)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), Path(sys.argv[1])), encoding="utf-8")
