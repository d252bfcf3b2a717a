"""Tables, and the page that holds them with their provenance."""

import re
import subprocess
from pathlib import Path

from imlkd.reporting.results import COLUMNS, Row
from imlkd.reporting.table import git_hash, markdown_table, printed, results_markdown, text_table
from imlkd.scoring.evaluate import Evaluation, Measure
from imlkd.scoring.intervals import Interval


def row(
    model: str, eer: float, interval: Interval | None = None, few: bool = False, minutes: float | None = 1.25
) -> Row:
    points = Measure(eer, 0.3, interval)
    costs = {0.01: Measure(0.4567, 0.5), 0.001: Measure(0.9, 0.6), 0.05: Measure(0.3, 0.4)}
    evaluation = Evaluation(points, points, eer, costs, 10, 20, 5, 100, few)
    return Row(model, "set/list", 1_234_567, 89_123_456, evaluation, minutes, "0123456789ab")


def test_cells() -> None:
    assert row("m", 0.0512, Interval(0.04, 0.0625)).cells() == [
        "m", "1,235 k", "89.1 M", "5.12 % [4.00 %, 6.25 %]", "0.457", "1.2"
    ]  # fmt: skip
    assert row("m", 0.0512, Interval(0.04, 0.0625), few=True).cells()[3] == "5.12 % [4.00 %, 6.25 %] (few speakers)"
    assert row("m", 0.5, minutes=None).cells()[3:] == ["50.00 %", "0.457", "imported"]
    assert len(row("m", 0.1).cells()) == len(COLUMNS)


def test_text_table() -> None:
    assert text_table(["name", "n"], [["a", "1"], ["longer", "1234"]]).split("\n") == [
        "name       n", "------  ----", "a          1", "longer  1234"
    ]  # fmt: skip


def test_markdown_table() -> None:
    assert markdown_table(["name", "n"], [["a", "1"]]) == "| name | n |\n| --- | --- |\n| a | 1 |"


def test_the_page() -> None:
    results = {"t/easy": [row("teacher", 0.05), row("student", 0.08)], "t/hard": [row("teacher", 0.11)]}
    page = results_markdown(results, {"train": "aaaa", "t": "bbbb"}, "./run.sh --corpus kaldi", "0123456789ab")
    lines = page.splitlines()
    assert lines[0] == "# Results" and "Made by `./run.sh --corpus kaldi` at git 0123456789ab." in lines
    assert "- data `train`: aaaa" in lines and "- data `t`: bbbb" in lines
    assert lines.index("## t/easy") < lines.index("## t/hard")
    cells = [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| teacher") or line.startswith("| student")
    ]
    assert [line[0] for line in cells] == ["teacher", "student", "teacher"]
    assert [line[-1] for line in cells] == ["0123456789ab"] * 3 and all(len(line) == len(COLUMNS) + 1 for line in cells)
    shown = printed(results)
    assert shown.split("\n\n")[0].startswith("t/easy\nmodel") and shown.split("\n\n")[1].startswith("t/hard\n")


def test_git_hash(tmp_path: Path) -> None:
    assert git_hash(tmp_path) == git_hash(tmp_path / "gone") == "unknown"

    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        run = subprocess.run(["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "x")
    git("tag", "-a", "v1", "-m", "v1")  # a name is no hash
    head = git("rev-parse", "HEAD")
    assert re.fullmatch(r"[0-9a-f]{12,40}", git_hash(tmp_path)) and head.startswith(git_hash(tmp_path))
    (tmp_path / "untracked").write_text("")
    assert head.startswith(git_hash(tmp_path))
    (tmp_path / "a").write_text("2")
    assert git_hash(tmp_path) == f"{head[:12]}+changes"
