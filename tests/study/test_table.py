import json
from pathlib import Path

import numpy as np

from imlkd.scoring.metrics import Floats
from imlkd.study.folds import read_fold, write_folds
from imlkd.study.plan import read_study, runs_of
from imlkd.study.record import Record, packed
from imlkd.study.results import read_results
from imlkd.study.table import as_json, markdown
from tests.study.test_folds import make_data


def scores(results: Path, fold: int, quality: float) -> Floats:
    trials = read_fold(results, fold).trials
    return 0.2 * quality * trials.is_target + 0.1 * np.random.default_rng(fold).normal(size=len(trials))


def test_tables_of_a_study_that_has_half_run(tmp_path: Path) -> None:
    file, results = tmp_path / "toy.yaml", tmp_path / "results"
    file.write_text("rows: [none, kd, imlkd]\nfolds: 2\nseeds: 1\nmain_seeds: 2\ncuts: [1.0]\ndraws: 20\n")
    config = read_study(file)
    write_folds(make_data(tmp_path), results, 2, 4, 4, 0)
    assert "Nothing has run on every fold yet." in markdown(read_results(config, file, results))
    quality = {"none": 0.5, "kd": 1.0, "imlkd": 1.5}
    for run in runs_of(config, file):
        if run.row.label == "kd" and run.fold == 2:
            continue
        both = {name: packed(scores(results, run.fold, quality[run.row.label])) for name in ("full", "1s")}
        record = Record("toy", run.row.label, "small", run.fold, run.seed, run.settings(), "", "", 5000, 1.0, both)
        record.write(results / "runs" / f"{run.name}.json")
    for fold in (1, 2):
        full = {name: packed(scores(results, fold, 3.0)) for name in ("full", "1s")}
        teacher = Record("toy", "teacher", "own", fold, 0, "own", "", "", 9000, 2.0, full)
        teacher.write(results / f"runs/teacher.f{fold}.json")
    text = markdown(read_results(config, file, results))
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows[:4] == ["| row", "| teacher", "| none", "| imlkd"]  # kd lacks a fold
    assert "imlkd less each row, relative EER, full" in text and "imlkd less each row, relative EER, 1s" in text
    values = json.loads(json.dumps(as_json(read_results(config, file, results))))["small"]
    assert values["rates"]["teacher"]["full"]["mean"] < values["rates"]["none"]["full"]["mean"]
    assert [one["row"] for one in values["differences"]["full"]] == ["none"]

    file.write_text(file.read_text().replace("rows: [none, kd, imlkd]", "rows: [none, kd, 'imlkd = imlkd views=1']"))
    changed = markdown(read_results(read_study(file), file, results))
    assert "| imlkd |" not in changed  # a record of other settings doesn't count
