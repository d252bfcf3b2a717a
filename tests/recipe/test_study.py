"""A small study as a user runs it: gone on with, with tries that decide, and its rows on a test list at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recipe.workspaces import Workspace

STUDY = """conf: egs/minivox/conf_tiny
folds: 2
seeds: 1
main_seeds: 1
targets: 4
nontargets: 4
cuts: [1.0]
draws: 20
speeds: [1.1]
reference: kd
rows: [none, kd]
tries: ['kd: method.temperature=2']
tries_set: training.epochs=1
"""
DATA = "data/minivox_teacher_train"
TEST = "data/minivox_test"


def records(folder: Path) -> dict[str, dict[str, object]]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")}


@pytest.mark.slow
def test_from_folds_to_the_test_list(workspace: Workspace) -> None:
    root = workspace.root
    (root / "egs/study").mkdir(exist_ok=True)
    (root / "egs/study/toy.yaml").write_text(STUDY)
    with (root / "egs/minivox/conf_tiny/relevance.yaml").open("a") as file:
        file.write("max_failing: 0.1\n")  # teachers this small are rough
    first = workspace.call("local/study.sh", "--data", DATA, "egs/study/toy.yaml")
    assert first.status == 0, first.err
    results = root / "egs/study/toy"
    made = records(results)
    assert set(made) == {
        *(f"{row}.small.f{fold}.s1" for row in ("none", "kd", "kd.t0", "kd.t1") for fold in (1, 2)),
        "teacher.f1", "teacher.f2",
    }  # fmt: skip
    assert "8 of 8 runs" in first.out and "kd less each row" in first.out
    assert first.out.count("chosen on the other folds") == 2

    (results / "runs/none.small.f1.s1.json").unlink()
    again = workspace.call("local/study.sh", "--data", DATA, "egs/study/toy.yaml")
    assert again.status == 0, again.err
    after = records(results)
    assert after["none.small.f1.s1"]["scores"] == made["none.small.f1.s1"]["scores"]  # the same training, scored again

    places = ["--data", DATA, "--work", "study/toy", "--results", "egs/study/toy"]
    maps = workspace.call("utils/imlkd", "study", "maps", "egs/study/toy.yaml", *places)
    assert maps.status == 0, maps.err
    for fold in (1, 2):
        found = json.loads((results / f"maps/none.small.f{fold}.s1.json").read_text())["durations"]
        assert all(-1.0 <= one["agreement"] <= 1.0 for one in found.values()) and found
    assert "| row | agreement" in (results / "RESULTS.md").read_text()

    confirm = [
        "utils/imlkd", "study", "confirm", "egs/study/toy.yaml", *places, "--test", TEST,
        "--trials", f"{TEST}/trials", "--rows", "none,kd",
    ]  # fmt: skip
    end = workspace.call(*confirm)
    assert end.status == 0, end.err
    measured = records(results / "confirm/minivox_test")
    assert set(measured) == {"none.small.f0.s1", "kd.small.f0.s1", "teacher.f0"}
    assert "| kd |" in end.out and "kd less each row" in end.out

    workspace.edit("egs/minivox/conf_tiny/kd.yaml", "weight: 1.0", "weight: 3.0")
    again = workspace.call("local/study.sh", "--data", DATA, "egs/study/toy.yaml")
    assert again.status == 0, again.err
    refused = workspace.call(*confirm)
    assert refused.status == 1
    assert "kd was measured here with other settings" in refused.err.splitlines()[-1]
    assert records(results / "confirm/minivox_test") == measured
