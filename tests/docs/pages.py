"""What the pages of documentation say: commands, links, files, names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "egs/*/README.md", "benchmarks/README.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
PROGRAM = r"\./run\.sh|(?:local|utils|egs|tests|docs)/[\w/.-]+\.(?:sh|pl)|imlkd|pip install"
STARTS = re.compile(rf"(?:\w+=\S* )*(?:bash )?({PROGRAM})(?: |$)")


MARK = re.compile(r"<!-- (run|not run): (.+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    :param line: of its fence, from 1.
    :param mark: ``run`` with the test that runs it, or ``not run`` with the reason; empty where nothing is said.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str
    said: str

    @property
    def has_command(self) -> bool:
        """Whether it holds something to be run."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return self.language in ("bash", "python") or any(STARTS.match(line) for line in lines)


def blocks_of(page: Path) -> list[Block]:
    """All blocks; a mark stands in the line above its fence, or in the page's first line for all that have none."""
    lines = text_of(page).splitlines()
    whole = MARK.match(lines[0])
    blocks, start = [], None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        mark = MARK.match(lines[start - 1]) or whole
        blocks.append(Block(page, start + 1, lines[start].strip().strip("`"), "".join(f"{text}\n" for text in
                      lines[start + 1 : number]), mark[1] if mark else "", mark[2] if mark else ""))  # fmt: skip
        start = None
    return blocks


def run_by(test: str, page: str, language: str = "bash") -> list[str]:
    """The blocks of a page that a test has to run: those that bear its name."""
    path = str(Path(test).resolve().relative_to(ROOT))
    own = [block for block in blocks_of(Path(page)) if (block.mark, block.said) == ("run", path)]
    assert own, f"{page} has no block that {path} runs"
    return [block.text for block in own if (block.language or "bash") == language]


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
