"""imlkd/export/facts.py: thresholds on cosines, whatever the scores of the run are."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imlkd.corpora.trials.lists import read_trials
from imlkd.errors import UserError
from imlkd.export.facts import cosine_map, facts_of, read_evaluations, thresholds_of
from imlkd.scoring.calibration import Calibration
from imlkd.scoring.evaluate import evaluate
from imlkd.scoring.score_file import read_scores, write_scores


@pytest.fixture
def copy(student, tmp_path: Path) -> Path:
    shutil.copytree(student.folder, tmp_path / "student", ignore=shutil.ignore_patterns("export"))
    return tmp_path / "student"


def rescore(folder: Path, data: Path, scale: float, offset: float, power: float = 1.0) -> None:
    trials = read_trials(data / "trials")
    scores = read_scores(folder / "scores/toy/trials", trials)
    write_scores(folder / "scores/toy/trials", trials, scale * scores**power + offset)
    found = evaluate(folder / "scores/toy/trials", data / "trials", [data / "utt2spk"], draws=0)
    found.write_json(folder / "metrics/toy/trials.json")


def test_thresholds_of_calibrated_scores_are_mapped_back(student, copy: Path) -> None:
    data = student.sets.parent / "toy"
    plain = facts_of(copy, student.load(), 1, student.sets, "")
    Calibration(scale=12.5, offset=-3.0, speakers=("a",), score_range=(-1.0, 1.0)).write(copy / "calibration.json")
    rescore(copy, data, 12.5, -3.0)
    found = facts_of(copy, student.load(), 1, student.sets, "")
    assert found.calibration is not None and found.calibration.scale == 12.5
    assert found.thresholds["eer"] == pytest.approx(plain.thresholds["eer"], abs=1e-4)
    assert '"scale": 12.5' in found.metadata("fp32")["imlkd.calibration"]


def test_scores_that_are_no_cosines_give_no_thresholds(student, copy: Path) -> None:
    Calibration(scale=2.0, offset=0.0, score_range=(-1.0, 1.0)).write(copy / "calibration.json")
    rescore(copy, student.sets.parent / "toy", 3.0, 1.0, power=3.0)
    found = facts_of(copy, student.load(), 1, student.sets, "")
    assert found.thresholds == {} and found.calibration is None
    assert found.metadata("fp32")["imlkd.calibration"] == "" and list(found.evaluations) == ["toy/trials"]


def test_a_threshold_that_rejects_all_is_none(student) -> None:
    evaluation = read_evaluations(student.folder, None)["toy/trials"]
    strict = replace(evaluation, eer=replace(evaluation.eer, threshold=float("inf")))
    assert thresholds_of(strict, 2.0, 1.0)["eer"] is None
    assert set(thresholds_of(strict, 2.0, 1.0)) == {"eer", "0.01", "0.001", "0.05"}


def test_cosines_without_their_embeddings_are_not_recognised(copy: Path) -> None:
    assert cosine_map(copy, "toy/trials", None) == (1.0, 0.0)
    shutil.rmtree(copy / "xvectors_toy")
    assert cosine_map(copy, "toy/trials", None) is None


def test_training_data_of_imported_teachers_is_not_known(student, copy: Path) -> None:
    (copy / "log").mkdir(exist_ok=True)
    (copy / "log/head_accuracy").write_text("0.9\n")
    assert facts_of(copy, student.load(), 1, student.sets, "").training_data == {}


def test_damaged_metrics_are_named(student, copy: Path) -> None:
    (copy / "metrics/toy/trials.json").write_text("{}")
    with pytest.raises(UserError, match="trials.json: damaged: run stage 6 again"):
        facts_of(copy, student.load(), 1, student.sets, "")
