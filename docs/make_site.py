#!/usr/bin/env python3
"""Gather the pages of the repository where mkdocs finds them, with the links among them as they are.

Usage: docs/make_site.py FOLDER    docs/make_site.sh calls it. GitHub's Markdown lets a list follow a line of text at
once and indents by two; mkdocs wants an empty line and four.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "docs/*.md", "egs/*/README.md", "benchmarks/README.md", "LICENSE", "CITATION.cff")
LIST = re.compile(r"(- |\d+\. )")


def for_mkdocs(text: str) -> str:
    """The page with empty lines around lists and tables, and what belongs to a list entry indented by four."""
    lines: list[str] = []
    in_code = False
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        before = lines[-1] if lines else ""
        starts = bool(LIST.match(line)) and not before.startswith(("- ", "  ")) and not re.match(r"\d+\. ", before)
        starts = starts or (line.startswith("|") and not before.startswith("|"))
        if not in_code and not fence and starts and before.strip():
            lines.append("")
        if line.startswith("  ") and not line.startswith("    ") and (fence or in_code):
            line = f"  {line}"
        lines.append(line)
        in_code ^= fence
    return "\n".join(lines) + "\n"


def gather(folder: Path) -> list[Path]:
    """Write all pages below ``folder``, as they lie in the repository; returns their paths there."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)})
    for path in pages:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        target.write_text(for_mkdocs(text) if path.suffix == ".md" else text, encoding="utf-8")
    for link in sorted({link for page in pages for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8"))}):
        copy_if_file(link, pages, folder)
    return [path.relative_to(ROOT) for path in pages]


def copy_if_file(link: str, pages: list[Path], folder: Path) -> None:
    """A script or program that a page links to goes along as it is."""
    for page in pages:
        path = (page.parent / link).resolve()
        if path.is_file() and path.is_relative_to(ROOT) and not (folder / path.relative_to(ROOT)).exists():
            (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / path.relative_to(ROOT))


def addresses(folder: Path) -> list[str]:
    """Addresses outside that the pages link to."""
    found = (re.findall(r"\]\((https?://[^)\s]+)\)", path.read_text("utf-8")) for path in folder.rglob("*.md"))
    return sorted({address for page in found for address in page})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    gather(Path(sys.argv[1]))
    for address in addresses(Path(sys.argv[1])):
        print(f"not fetched: {address}")
