"""docs/walk.md: what it says is printed is printed, on a finished run of the reduced recipe."""

import doctest
import os
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/walk.md"
RUN = os.environ.get("WALK", "")


def python_lines(text: str) -> str:
    """The page with every line outside its Python blocks empty, so that a failure names the page's own line."""
    kept, inside = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        kept.append(line if inside and not fence else "")
        inside = not inside and line == "```python" if fence else inside
    return "\n".join(kept) + "\n"


@pytest.mark.skipif(not RUN, reason="needs a finished reduced run: WALK=FOLDER that holds its data/ and exp/")
def test_the_walk() -> None:
    page = python_lines(PAGE.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(page, {}, PAGE.name, str(PAGE), 0)
    printed: list[str] = []
    done = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(test, out=printed.append)
    assert not done.failed, "".join(printed)
    assert done.attempted > 50
