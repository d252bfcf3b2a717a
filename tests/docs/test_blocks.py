"""Every command in a block of README and docs is run by a test, or says why not."""

from pathlib import Path

import pytest

from tests.docs import pages

each_page = pytest.mark.parametrize("page", pages.PAGES, ids=str)


@each_page
def test_every_block_with_a_command_is_marked(page: Path) -> None:
    for block in pages.blocks_of(page):
        where = f"{page}:{block.line}"
        if block.has_command:
            assert block.mark, f"{where}: put <!-- run: TEST --> or <!-- not run: REASON --> above the block"
            assert block.mark == "run" or len(block.said.split()) > 2, f"{where}: say why it is not run"


@each_page
def test_the_test_that_runs_a_block_exists_and_reads_the_page(page: Path) -> None:
    """It takes the blocks from the page by ``run_by``, or all of them, so a block can't be missed."""
    for block in pages.blocks_of(page):
        if block.mark == "run":
            test = pages.ROOT / block.said
            assert test.is_file(), f"{page}:{block.line}: no {block.said}"
            assert page.name in test.read_text(encoding="utf-8"), f"{block.said} does not read {page}"


def test_most_blocks_are_run() -> None:
    marks = [block.mark for page in pages.PAGES for block in pages.blocks_of(page) if block.has_command]
    assert marks.count("run") > marks.count("not run") > 0


@pytest.mark.parametrize(("text", "marks"), [
    ("# A\n<!-- run: tests/x.py -->\n```bash\nls\n```\n\n```\n./run.sh\n```\n", ["run", ""]),
    ("<!-- not run: for a reason -->\n# A\n```python\n1\n```\n", ["not run"]),
    ("# A\n```\nformula\n```\n", []),
])  # fmt: skip
def test_marks(text: str, marks: list[str], tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    found = [block.mark for block in pages.blocks_of(tmp_path / "page.md") if block.has_command]
    assert found == marks
