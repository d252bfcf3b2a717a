from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.study.folds import write_folds
from imlkd.study.plan import Run, StudyConfig, read_study, runs_of
from imlkd.study.record import Record, packed
from imlkd.study.results import read_results
from imlkd.study.search import planned, try_runs
from imlkd.study.table import as_json, markdown
from tests.study.test_folds import make_data
from tests.study.test_table import scores

STUDY = """rows: [none, kd]
tries: ['kd: method.weight=2', 'kd: method.temperature=5 training.epochs=9']
tries_set: training.epochs=3
reference: kd
folds: 2
seeds: 1
main_seeds: 1
cuts: [1.0]
draws: 20
"""


@pytest.fixture
def study(tmp_path: Path) -> tuple[StudyConfig, Path, Path]:
    file, results = tmp_path / "toy.yaml", tmp_path / "results"
    file.write_text(STUDY)
    write_folds(make_data(tmp_path), results, 2, 4, 4, 0)
    return read_study(file), file, results


def write(results: Path, run: Run, quality: float) -> None:
    both = {name: packed(scores(results, run.fold, quality)) for name in ("full", "1s")}
    settings = run.settings()
    record = Record("toy", run.row.label, "small", run.fold, run.seed, settings, "", "", 5000, 1.0, both)
    record.write(results / "runs" / f"{run.name}.json")


def test_a_row_is_tried_as_it_is_and_with_each_line_for_fewer_epochs(study: tuple[StudyConfig, Path, Path]) -> None:
    config, file, _ = study
    runs = [run for run in try_runs(config, file) if run.fold == 1]
    assert [(run.row.label, run.row.student_set, run.row.method_set) for run in runs] == [
        ("kd.t0", ("training.epochs=3",), ()),
        ("kd.t1", ("training.epochs=3",), ("weight=2",)),
        ("kd.t2", ("training.epochs=9", "training.epochs=3"), ("temperature=5",)),
    ]


def test_each_fold_gets_what_is_best_on_the_others(study: tuple[StudyConfig, Path, Path]) -> None:
    config, file, results = study
    quality = {"kd.t0": (0.1, 0.1), "kd.t1": (4.0, 0.1), "kd.t2": (0.1, 1.0)}
    for run in try_runs(config, file):
        assert [one.row.label for one in planned(config, file, results)].count("kd") == 0  # not before all have run
        write(results, run, quality[run.row.label][run.fold - 1])
    after = {run.fold: run for run in planned(config, file, results) if run.row.label == "kd"}
    assert after[1].row.method_set == ("temperature=5",) and after[1].row.student_set == ("training.epochs=9",)
    assert after[2].row.method_set == ("weight=2",)

    for run in planned(config, file, results):
        if ".t" not in run.row.label:
            write(results, run, 1.0)
    found = read_results(config, file, results)
    text = markdown(found)
    assert text.splitlines()[2].startswith("10 of 10 runs; 2 folds.")
    assert "kd, small, fold 1: training.epochs=9 method.temperature=5, chosen on the other folds" in text
    assert "| kd |" in text and "kd.t" not in text
    assert [one["row"] for one in as_json(found)["small"]["differences"]["full"]] == ["none"]


def test_without_tries_the_plan_is_that_of_the_file(study: tuple[StudyConfig, Path, Path]) -> None:
    _, file, results = study
    file.write_text("rows: [none, imlkd]\n")
    config = read_study(file)
    assert planned(config, file, results) == runs_of(config, file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kdd: method.weight=2", "expected LABEL: KEY=VALUE ..., of a row: none, kd"),
        ("kd method.weight=2", "expected LABEL: KEY=VALUE"),
        ("kd: ", "expected LABEL: KEY=VALUE"),
        ("kd: method.weihgt=2", "unknown key weihgt"),
        ("kd: soft", "'soft' is no KEY=VALUE"),
    ],
)
def test_refused(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(f"rows: [none, kd]\nreference: kd\ntries: ['{line}']\n")
    with pytest.raises(UserError, match=message):
        read_study(file)
