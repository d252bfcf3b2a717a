import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from imlkd.cli.study import study
from imlkd.study.analysis import Analysis, Paired
from imlkd.study.folds import write_folds
from imlkd.study.page import write_study_page
from imlkd.study.plan import read_study, runs_of
from imlkd.study.record import Record, packed
from imlkd.study.results import read_results
from tests.study.test_folds import make_data
from tests.study.test_table import scores


def test_the_page_of_a_study(tmp_path: Path) -> None:
    file, results = tmp_path / "toy.yaml", tmp_path / "results"
    file.write_text("# <b>\nrows: [none, kd, imlkd]\nfolds: 2\nseeds: 1\nmain_seeds: 1\ncuts: [1.0]\ndraws: 20\n")
    config = read_study(file)
    write_folds(make_data(tmp_path), results, 2, 4, 4, 0)
    empty = write_study_page(read_results(config, file, results)).read_text()
    assert "Nothing has run on every fold yet." in empty and "0 of 6" in empty
    quality = {"none": 0.5, "kd": 1.0, "imlkd": 1.5}
    for run in runs_of(config, file):
        both = {name: packed(scores(results, run.fold, quality[run.row.label])) for name in ("full", "1s")}
        record = Record("toy", run.row.label, "small", run.fold, run.seed, run.settings(), "", "abc", 5000, 1.0, both)
        record.write(results / "runs" / f"{run.name}.json")
    without = write_study_page(read_results(config, file, results)).read_text()
    assert "No gap to show" in without and "6 of 6" in without
    for fold in (1, 2):
        full = {name: packed(scores(results, fold, 3.0)) for name in ("full", "1s")}
        Record("toy", "teacher", "own", fold, 0, "own", "", "abc", 9000, 2.0, full).write(
            results / f"runs/teacher.f{fold}.json"
        )
    page = write_study_page(read_results(config, file, results)).read_text()
    assert page.count("<svg ") == 2 and page.count("<table") == 3  # rates, differences whole and cut
    assert "git abc" in page and "# &lt;b&gt;" in page
    assert "Fewer than 20 speakers: intervals and p are a hint only. So few draws give no p below" in page


def test_all_tables_and_the_page_draw_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, results = tmp_path / "toy.yaml", tmp_path / "results"
    file.write_text("rows: [none, imlkd]\nfolds: 2\nseeds: 1\nmain_seeds: 1\ncuts: [1.0]\ndraws: 20\n")
    write_folds(make_data(tmp_path), results, 2, 4, 4, 0)
    for run in runs_of(read_study(file), file):
        both = {name: packed(scores(results, run.fold, 1.0)) for name in ("full", "1s")}
        record = Record("toy", run.row.label, "small", run.fold, run.seed, run.settings(), "", "abc", 5000, 1.0, both)
        record.write(results / "runs" / f"{run.name}.json")
    compared, compare = list[str](), Analysis.compare

    def counted(self: Analysis, reference: str, condition: str) -> list[Paired]:
        compared.append(condition)
        return compare(self, reference, condition)

    monkeypatch.setattr(Analysis, "compare", counted)
    done = CliRunner().invoke(study, ["table", str(file), "--results", str(results)], catch_exceptions=False)
    assert compared == ["full", "1s"]
    assert done.output == (results / "RESULTS.md").read_text() + "\n"
    (one,) = json.loads((results / "results.json").read_text())["small"]["differences"]["1s"]
    shown = f"{100 * one['low']:+.1f} % to {100 * one['high']:+.1f} %"
    assert shown in done.output and shown in (results / "report/index.html").read_text()
