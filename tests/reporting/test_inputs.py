"""What stage 7's markers look at: every file that is read, and no other."""

from pathlib import Path

import pytest

from imlkd.corpora.sets import RecipeSets
from imlkd.errors import UserError
from imlkd.reporting.inputs import page_inputs, results_inputs

SETS = RecipeSets("train", "both", ["a", "b"], ["a/trials", "a/short", "b/trials"])
SCORED = [path for name in SETS.lists for path in (f"scores/{name}", f"metrics/{name}.json")]
TRAINED = ["final.pt", "model.yaml", "config.yaml", "log/seconds"]
SHOWN = ["method.yaml", "log/train.jsonl", "log/expected.jsonl", "export/export.json"]


def model(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """An imported teacher and a student with all there is."""
    return [
        model(tmp_path / "teacher", [*TRAINED[:3], *SCORED, "targets_train/config.yaml", "targets_both/config.yaml"]),
        model(tmp_path / "student", [*TRAINED, *SHOWN, *SCORED, "log/other"]),
    ]


def below(folder: Path, names: list[str]) -> set[Path]:
    return {folder / name for name in names}


def test_the_table(models: list[Path]) -> None:
    found = results_inputs(models, SETS)
    assert set(found) == below(models[0], TRAINED[:3] + SCORED) | below(models[1], TRAINED + SCORED)
    assert len(set(found)) == len(found)


def test_the_pages(models: list[Path], tmp_path: Path) -> None:
    teacher = below(models[0], [*TRAINED[:3], "targets_train/config.yaml"])
    student = below(models[1], TRAINED + SHOWN + SCORED)
    lists = below(tmp_path / "data", SETS.lists)
    found = page_inputs(models, SETS, tmp_path / "data")
    assert set(found) == teacher | below(models[0], SCORED) | student | lists and len(set(found)) == len(found)
    assert set(page_inputs(models, SETS, tmp_path / "data", teacher_scored=False)) == teacher | student | lists


def test_stage_6_has_not_run(models: list[Path], tmp_path: Path) -> None:
    for path in (models[0] / "metrics/b/trials.json", models[1] / "scores/a/short"):
        path.unlink()
        with pytest.raises(UserError, match=f"^{path}: not there: run stage 6 first"):
            results_inputs(models, SETS)
        with pytest.raises(UserError, match=f"^{path}: not there: run stage 6 first"):
            page_inputs(models, SETS, tmp_path)
        path.touch()
