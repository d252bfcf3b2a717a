"""`imlkd methods`: the table comes from the code, on the screen, as JSON, and in docs/methods.md."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from imlkd.distillation.catalogue import rows
from imlkd.distillation.objective import METHODS

ROOT = Path(__file__).parents[2]


def test_a_line_a_method(imlkd: Callable[..., CompletedProcess[str]]) -> None:
    done = imlkd("methods")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and [line.split()[0] for line in lines] == ["method", *METHODS]
    kd = next(line for line in lines if line.startswith("kd "))
    assert "same classes" in kd and "arXiv 1503.02531" in kd


def test_as_json(imlkd: Callable[..., CompletedProcess[str]]) -> None:
    found = [json.loads(line) for line in imlkd("methods", "--json").stdout.splitlines()]
    assert found == rows() and len(found) == len(METHODS)
    needs = {row["name"]: row["needs"] for row in found}
    assert needs["none"] == "nothing" and needs["ig-match"] == "labels in its terms, relevance, double backward"
    assert all(row["what"] and not row["what"].endswith(".") for row in found)


def test_the_page_holds_the_table() -> None:
    page = (ROOT / "docs/methods.md").read_text()
    for row in rows():
        assert f"| `{row['name']}` | {row['needs']} | {row['what']} |\n" in page
