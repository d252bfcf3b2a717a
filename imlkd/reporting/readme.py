"""The result table of a README: copied from a run's RESULTS.md, never typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, os_errors

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
USUAL = "egs/minivox/conf"
_MADE_BY = re.compile(r"^Made by `.*--conf (\S+).*` at git (\S+)\.$", re.MULTILINE)


def update_readme(results: Path, kept: Path, readme: Path) -> None:
    """Keep ``results`` (of stage 7) as ``kept`` and put its content between the marks of ``readme``.

    :raises UserError: when ``results`` is no such file, comes from a tree that no commit holds or from another
        configuration than the usual one, or the marks are not in ``readme``.
    """
    text = _read(results, "run ./run.sh to its end first")
    made_by = _MADE_BY.search(text)
    if made_by is None:
        raise UserError(f"{results}: has no line on how it was made: take the RESULTS.md of ./run.sh")
    conf, git = made_by.groups()
    if conf != USUAL:
        raise UserError(f"{results}: made with --conf {conf}, the README shows {USUAL}: run ./run.sh without --conf")
    if git == "unknown" or git.endswith("+changes"):
        raise UserError(f"{results}: made at git {git}, which nobody can repeat: run ./run.sh in a clean clone")
    page = with_results(_read(readme, "name the README"), text, readme)
    atomic_write_text(kept, text)
    atomic_write_text(readme, page)


def with_results(page: str, results: str, where: Path) -> str:
    """``page`` with ``results``, its own heading left out, between the marks."""
    before, begin, rest = page.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{where}: lacks the lines {BEGIN} and {END}: put them where the table belongs")
    body = results.removeprefix("# Results\n").replace("\n## ", "\n### ").strip()
    return f"{before}{BEGIN}\n{body}\n{END}{after}"


def _read(path: Path, remedy: str) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file: {remedy}")
    with os_errors(path):
        return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    try:
        update_readme(*map(Path, sys.argv[1:4]))
        print(f"{sys.argv[1]} -> {sys.argv[2]}, {sys.argv[3]}")
    except UserError as error:
        sys.exit(f"imlkd: error: {error}")
