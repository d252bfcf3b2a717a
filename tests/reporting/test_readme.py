"""imlkd/reporting/readme.py: the README's table is a copy of a run's."""

from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.reporting.readme import BEGIN, END, update_readme, with_results

ROOT = Path(__file__).parents[2]
RESULTS = """# Results

Made by `./run.sh --corpus minivox --conf egs/minivox/conf --data data` at git 0123456789ab.

- data `minivox_test`: fcee

## minivox_test/trials

| model | EER |
| --- | --- |
| minivox_teacher | 7.00 % |
"""
PAGE = f"# imlkd\n\n{BEGIN}\nold\n{END}\n\nmore\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "RESULTS.md").write_text(RESULTS)
    return tmp_path / "README.md"


def test_the_block_is_replaced_and_the_rest_stays(readme: Path) -> None:
    kept = readme.parent / "egs/RESULTS.md"
    update_readme(readme.parent / "RESULTS.md", kept, readme)
    once = readme.read_text()
    assert kept.read_text() == RESULTS
    assert once.startswith(f"# imlkd\n\n{BEGIN}\nMade by `./run.sh") and once.endswith(f"7.00 % |\n{END}\n\nmore\n")
    assert "old" not in once and "\n### minivox_test/trials\n" in once
    update_readme(readme.parent / "RESULTS.md", kept, readme)
    assert readme.read_text() == once


@pytest.mark.parametrize("commit", ["0123456789ab+changes", "unknown"])
def test_results_that_nobody_can_repeat_are_refused(readme: Path, commit: str) -> None:
    (readme.parent / "RESULTS.md").write_text(RESULTS.replace("0123456789ab", commit))
    with pytest.raises(UserError, match="which nobody can repeat: run ./run.sh in a clean clone"):
        update_readme(readme.parent / "RESULTS.md", readme.parent / "kept", readme)
    assert readme.read_text() == PAGE and not (readme.parent / "kept").exists()


def test_another_configuration_is_refused(readme: Path) -> None:
    (readme.parent / "RESULTS.md").write_text(RESULTS.replace("minivox/conf ", "minivox/conf_reduced "))
    with pytest.raises(UserError, match="made with --conf egs/minivox/conf_reduced, the README shows egs/minivox/conf"):
        update_readme(readme.parent / "RESULTS.md", readme.parent / "kept", readme)
    assert readme.read_text() == PAGE


@pytest.mark.parametrize(
    ("results", "page", "message"),
    [(None, PAGE, "run ./run.sh to its end first"), ("# Results\n", PAGE, "has no line on how it was made"),
     (RESULTS, "# imlkd\n", "lacks the lines"), (RESULTS, f"{END}\n{BEGIN}\n", "lacks the lines")],
)
def test_what_is_missing_is_said(readme: Path, results: str | None, page: str, message: str) -> None:
    readme.write_text(page)
    path = readme.parent / "RESULTS.md"
    path.unlink() if results is None else path.write_text(results)
    with pytest.raises(UserError, match=message):
        update_readme(path, readme.parent / "kept", readme)
    assert readme.read_text() == page


def test_the_repository_s_own_table_is_the_kept_run_s() -> None:
    page, kept = (ROOT / "README.md").read_text(), ROOT / "egs/minivox/RESULTS.md"
    if kept.is_file():
        assert page == with_results(page, kept.read_text(), ROOT / "README.md")
    else:
        block = page.split(BEGIN)[1].split(END)[0]
        assert "No run has been written in here yet" in block and "|" not in block
