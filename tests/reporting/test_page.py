"""Stage 7's pages as text: what stands in them, and what they say where something is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from imlkd.cli.report import report
from imlkd.errors import UserError
from imlkd.reporting.page.compare import compare_experiments
from imlkd.reporting.page.stage import PageOptions, write_pages
from imlkd.reporting.results import rows_of
from tests.reporting.conftest import COMMAND, EVIL, Run, add_model, forget_scores, make_run, make_table


class Page(HTMLParser):
    """Addresses, ids, elements and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")
            elif name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def missing(path: Path) -> list[str]:
    found = re.findall(r'class="missing">(.*?)</p>', path.read_text(encoding="utf-8"))
    return [str(one) for one in found]


def test_a_page_holds_all_it_needs(run: Run) -> None:
    path = run.page("toy_kd")
    page = Page(path)
    assert not run.page("toy_none").samefile(path) and not (run.models[0] / "report/index.html").exists()
    assert {address[:5] for address in page.addresses if not address.startswith("#")} == {"data:"}
    inner = {address[1:] for address in page.addresses if address.startswith("#")}
    assert inner <= set(page.ids) and len(set(page.ids)) == len(page.ids)
    assert "url(http" not in path.read_text() and "@import" not in path.read_text()
    counts = {tag: page.tags.count(tag) for tag in ("table", "svg", "audio", "img", "script")}
    # DET, histogram, gap, two trainings, two models' perturbations; four explained, eight hard trials with two sides
    assert counts["svg"] == 7 and counts["audio"] == 4 + 16 and counts["script"] == 1
    assert counts["table"] == 2  # results, areas; nothing is exported
    assert counts["img"] == 4 * (1 + 2 * 2)  # a spectrogram, two models, windows of 1 s and the whole
    assert path.stat().st_size < 6e6


def test_what_a_page_says_is_what_lies_on_disk(run: Run) -> None:
    page = Page(run.page("toy_kd"))
    for row in rows_of(run.models, ["toy/trials"])["toy/trials"]:
        eer = row.evaluation.eer
        assert row.model in page.text and f"{100 * eer.value:.2f} %" in page.text
        assert row.config_hash in page.text
    assert COMMAND in page.text and "seed: 2" in page.text


def test_ids_are_text(run: Run) -> None:
    for model in ("toy_none", "toy_kd"):
        page = Page(run.page(model))
        assert f"s0-u0-{EVIL}" in page.text
        assert page.tags.count("script") == 1 and "b" in page.tags
        assert EVIL not in run.page(model).read_text()


def test_the_same_files_make_the_same_page(run: Run) -> None:
    before = run.page("toy_kd").read_bytes()
    write_pages(run.sets, run.data, run.models, PageOptions(COMMAND, draws=20))
    assert run.page("toy_kd").read_bytes() == before


def test_what_is_missing_is_said_in_a_line(toy_corpus: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, toy_corpus)
    models = [folder for folder in made.models if folder.name != "toy_none"]
    for folder in models:
        (folder / "log/train.jsonl").unlink()
    write_pages(made.sets, made.data, models, PageOptions(draws=20, audio=False))
    path = made.page("toy_kd")
    said = missing(path)
    assert any("No student was trained without a teacher" in one for one in said)
    assert "No log of a training." in said and any("Not exported" in one for one in said)
    page = Page(path)
    assert "audio" not in page.tags and "no audio: --page-audio false" in page.text
    assert "voices of the corpus" not in page.text


def test_models_that_cannot_be_explained(toy_corpus: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, toy_corpus)
    targets = made.models[0] / "targets_toy"
    targets.mkdir()
    (targets / "config.yaml").write_text("full: false\nsegments:\n  durations: [30.0]\n")
    write_pages(made.sets, made.data, made.models, PageOptions(draws=20))
    said = missing(made.page("toy_kd"))
    assert any(one.startswith("Not explained: ") and "no duration fits" in one for one in said)
    assert "No curves: no recording was explained." in said


def test_a_teacher_that_is_a_table(toy_corpus: Path, tmp_path: Path) -> None:
    """It is scored like any other; nothing can be counted or explained of it, and the student is explained alone."""
    made = make_run(tmp_path, toy_corpus)
    make_table(made.models[0])
    write_pages(made.sets, made.data, made.models, PageOptions(draws=20, audio=False))
    page = Page(made.page("toy_kd"))
    assert page.text.count("not counted") == 2 and not re.search(r"\b0 k", page.text)
    assert page.tags.count("svg") == 5  # DET, histogram, gap, the student's training and perturbation
    assert page.tags.count("img") == 4 * (1 + 2)
    assert missing(made.page("toy_kd"))[:1] == ["Not explained: toy_teacher: it gives no gradients"]


def test_a_teacher_without_scores(toy_corpus: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, toy_corpus)
    make_table(made.models[0])
    forget_scores(made.models[0])
    with pytest.raises(UserError, match="toy_teacher/scores/toy/trials"):
        write_pages(made.sets, made.data, made.models, PageOptions(draws=20, audio=False))
    options = PageOptions(draws=20, audio=False, teacher_scored=False)
    assert write_pages(made.sets, made.data, made.models, options) == [made.page("toy_none"), made.page("toy_kd")]
    page, said = Page(made.page("toy_kd")), missing(made.page("toy_kd"))
    assert said[0] == "toy/trials: The teacher toy_teacher has no scores here: no gap to measure."
    assert "not counted" not in page.text and "toy_none" in page.text
    assert "A student of toy_teacher" in page.text and "configuration of toy_teacher" in page.text
    assert page.tags.count("svg") == 4 and page.tags.count("img") == 4 * (1 + 2)


def test_export_and_expected_losses(toy_corpus: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, toy_corpus)
    log = made.models[2] / "log"
    (log / "expected.jsonl").write_bytes((log / "train.jsonl").read_bytes())
    (made.models[2] / "export").mkdir()
    variant = {"variant": "fp32", "refused": False, "farthest": 0.0, "size_mb": 0.1, "latency_ms": 1.0, "rtf": 0.01,
               "memory_mb": 50.0, "lists": {}}  # fmt: skip
    content = {"variants": [variant], "files": ["model.onnx"]}
    (made.models[2] / "export/export.json").write_text(json.dumps(content))
    write_pages(made.sets, made.data, made.models, PageOptions(draws=20))
    page = Page(made.page("toy_kd"))
    assert "fp32" in page.text and "In export/: model.onnx." in page.text
    assert "Farthest from the expected loss at epoch" in page.text
    assert "The recipe has no curve for a training with these settings." in page.text


@pytest.fixture
def experiments(run: Run, tmp_path: Path) -> Path:
    """A second folder of models: one of the same name, better."""
    other = tmp_path / "exp2"
    add_model(other / "toy_kd", run.data, 3.0, 9)
    return other


def test_two_experiments_side_by_side(run: Run, experiments: Path, tmp_path: Path) -> None:
    first = run.models[0].parent
    text = compare_experiments(first, experiments, run.data, 50, tmp_path / "both.html")
    lines = text.splitlines()
    assert lines[0] == "toy/trials" and lines[-1] == f"also in {tmp_path / 'both.html'}"
    own = first.relative_to(os.path.commonpath([first, experiments]))
    (row,) = [line for line in lines if line.startswith(f"{own}/toy_kd")]
    assert "+" in row and row.endswith("differ") and "50 draws of 4 speakers, both on the same; few" in text
    page = Page(tmp_path / "both.html")
    assert page.tags.count("svg") == 1 and page.tags.count("table") == 1 and str(experiments) in page.text
    same = compare_experiments(first / "toy_kd", first / "toy_kd", run.data, 50)
    assert "+0.00 % [+0.00, +0.00]" in same and same.splitlines()[3].endswith("same")


def test_experiments_that_cannot_be_compared(run: Run, experiments: Path, tmp_path: Path) -> None:
    first = run.models[0].parent
    with pytest.raises(UserError, match="no such folder: name exp/MODEL"):
        compare_experiments(tmp_path / "none", first, run.data, 50)
    with pytest.raises(UserError, match="no such trial list: name the folder of the prepared sets with --data-dir"):
        compare_experiments(first, experiments, tmp_path, 50)
    with pytest.raises(UserError, match=r"let the name end in \.html"):
        compare_experiments(first, experiments, run.data, 50, tmp_path / "both.pdf")
    shutil.move(experiments / "toy_kd", experiments / "other")
    with pytest.raises(UserError, match="no scored models of one name in both"):
        compare_experiments(first, experiments, run.data, 50)
    (experiments / "other/scores/toy/trials").unlink()
    with pytest.raises(UserError, match="no list that both have scored"):
        compare_experiments(first / "toy_kd", experiments / "other", run.data, 50)


def test_the_command(run: Run, experiments: Path) -> None:
    first = str(run.models[0].parent)
    done = CliRunner().invoke(report, ["--compare", first, str(experiments), "--data-dir", str(run.data)])
    assert done.exit_code == 0 and "toy/trials" in done.output
    for wrong in ([], ["--page"], ["--compare", first, first, "--page"], ["a", "b", "c"]):
        assert CliRunner().invoke(report, wrong).exit_code == 2
