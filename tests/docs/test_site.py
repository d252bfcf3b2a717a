"""The site: every page is in its navigation, and Markdown of GitHub's is made into mkdocs'."""

import re
from pathlib import Path

import pytest
import yaml

import imlkd
from docs.make_site import addresses, for_mkdocs, gather
from tests.docs.pages import PAGES, ROOT


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/.-]+\.md", text.partition("\nnav:\n")[2]))
    assert named == {str(page) for page in PAGES}


def test_nothing_is_fetched_by_a_reader() -> None:
    settings = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert yaml.safe_load(settings)["theme"]["font"] is False


def test_pages_are_gathered_as_they_lie(tmp_path: Path) -> None:
    gathered = gather(tmp_path)
    assert set(PAGES) <= set(gathered) and all((tmp_path / path).is_file() for path in gathered)
    assert (tmp_path / "cmd.sh").read_text() == (ROOT / "cmd.sh").read_text()  # a page links to it
    assert all(address.startswith("http") for address in addresses(tmp_path))


@pytest.mark.parametrize(("text", "expected"), [
    ("It needs:\n- a\n- b\n  more\n- c\n", "It needs:\n\n- a\n- b\n  more\n- c\n"),
    ("One\n1. a\n2. b\n", "One\n\n1. a\n2. b\n"),
    ("Such:\n| a |\n|---|\n| b |\n", "Such:\n\n| a |\n|---|\n| b |\n"),
    ("```\nx:\n- y\n```\n", "```\nx:\n- y\n```\n"),
    ("- a\n  ```\n  b\n  ```\n", "- a\n    ```\n    b\n    ```\n"),
])  # fmt: skip
def test_for_mkdocs(text: str, expected: str) -> None:
    assert for_mkdocs(text) == expected


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == imlkd.__version__ and citation["license"] == "Apache-2.0"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert f"## {imlkd.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
