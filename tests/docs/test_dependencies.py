"""docs/dependencies.md: every pinned package is there, at its version, with a reason; setup.py asks for no other."""

import re

import pytest

from docs.make_dependencies import REASONS, pins_of, same
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
FILES = re.findall(r"<!-- pins of (\S+) -->", PAGE)


@pytest.mark.parametrize("name", FILES)
def test_every_pin_has_a_reason(name: str) -> None:
    table = PAGE.partition(f"<!-- pins of {name} -->\n")[2].partition("<!-- end -->")[0]
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table.splitlines()[2:]]
    assert {package: version for package, version, _ in rows} == pins_of(ROOT / name), "run docs/make_dependencies.py"
    everyone = {same(package) for file in FILES for package in pins_of(ROOT / file)}
    for package, _, why in rows:
        assert "nobody" not in why and len(why) > 10, package
        for asker in re.findall(r"[\w.-]+", why.partition("needed by ")[2].partition(", as ")[0]):
            assert same(asker) in everyone, f"{package}: {asker} is not pinned"


def test_every_file_of_pins_is_on_the_page() -> None:
    files = [path.relative_to(ROOT) for place in ("", "tests/") for path in ROOT.glob(f"{place}requirements*.txt")]
    assert all(str(path) in PAGE for path in files)


def test_what_is_required_is_chosen() -> None:
    """Each package that setup.py names has a reason of its own, or is optional and named on the page of notices."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    named = {same(name) for name in re.findall(r'"([\w-]+)(?:[>=]=[^"]*)"', setup)}
    notices = (ROOT / "docs/notices.md").read_text(encoding="utf-8")
    reasons = {same(name) for name in REASONS}
    assert len(named) > 25
    assert {name for name in named if name not in reasons and f"`{name}`" not in notices} <= {"av"}


def test_unusual_licences_are_told() -> None:
    """Those of the packages that are installed here and are neither permissive nor weak copyleft on files."""
    from importlib import metadata

    notices = (ROOT / "docs/notices.md").read_text(encoding="utf-8").lower()
    for name in pins_of(ROOT / "requirements.txt"):
        try:
            found = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        licence = f"{found.get('License-Expression') or ''} {(found.get('License') or '')[:60]}"
        if re.search(r"\bL?GPL|Proprietary", licence):
            assert name.lower() in notices or (name.startswith("nvidia-") and "`nvidia-*`" in notices), (name, licence)
