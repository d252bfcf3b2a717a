"""What the pages of documentation say: commands, links, files, names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "egs/*/README.md", "benchmarks/README.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
PROGRAM = r"\./run\.sh|(?:local|utils|egs|tests)/[\w/.-]+\.(?:sh|pl)|imlkd|pip install"
STARTS = re.compile(rf"(?:\w+=\S* )*(?:bash )?({PROGRAM})(?: |$)")


def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", text_of(page))


def commands_of(page: Path) -> Iterator[list[str]]:
    """Words of each command, in blocks and in running text, from the program on."""
    for _, block in FENCE.findall(text_of(page)):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _command(line)
    for code in INLINE.findall(prose_of(page)):
        yield from _command(code)


def _command(line: str) -> Iterator[list[str]]:
    match = STARTS.match(line)
    if match:
        words = shlex.split(line[match.start(1) :], comments=True)
        yield words[: next((i for i, word in enumerate(words) if word in ("&&", "|", ">")), len(words))]


def inline_of(page: Path) -> list[str]:
    return INLINE.findall(prose_of(page))


def links_of(page: Path) -> list[str]:
    """Targets inside the repository."""
    return [link for link in LINK.findall(text_of(page)) if not link.startswith(("http://", "https://"))]


def anchors_of(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
