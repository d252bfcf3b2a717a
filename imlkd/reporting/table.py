"""Tables for the terminal and for Markdown, and the RESULTS.md that holds them with their provenance."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from imlkd.reporting.results import COLUMNS, Row


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left and the others to the right."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def printed(results: dict[str, list[Row]]) -> str:
    """Every list's table, as the recipe prints it."""
    return "\n\n".join(f"{name}\n{text_table(COLUMNS, [r.cells() for r in rows])}" for name, rows in results.items())


def results_markdown(results: dict[str, list[Row]], data_hashes: dict[str, str], command: str, git: str) -> str:
    """RESULTS.md: the same rows with git hash, configuration hashes, data hashes and command."""
    parts = ["# Results", "", f"Made by `{command}` at git {git}.", ""]
    parts += [f"- data `{name}`: {digest}" for name, digest in data_hashes.items()] + [""]
    for name, rows in results.items():
        cells = [[*row.cells(), row.config_hash] for row in rows]
        parts += [f"## {name}", "", markdown_table([*COLUMNS, "config"], cells), ""]
    return "\n".join(parts)


def git_hash(folder: Path) -> str:
    """Commit of the checkout, with ``+changes`` when tracked files differ; ``unknown`` outside one."""
    try:
        run = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
