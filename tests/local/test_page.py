"""local/page.sh: stage 7's pages are made once, and again when something they show has changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reporting.conftest import Run, forget_scores, make_run, make_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(toy_corpus: Path, tmp_path: Path) -> Run:
    found = make_run(tmp_path, toy_corpus)
    return Run(found.data, found.models[:2])


def pages(made: Run, *options: str) -> subprocess.CompletedProcess[str]:
    folders = [made.sets, made.data, made.models[0].parent, *made.models]
    command = ["local/page.sh", "--bootstrap", "20", *options, *map(str, folders)]
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_once_and_again_when_what_is_shown_changes(made: Run) -> None:
    first = pages(made)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == ["stage 7 (page): not done yet", str(made.page("toy_none"))]
    assert "voices of the corpus" in made.page("toy_none").read_text()
    again = pages(made)
    assert (again.returncode, again.stdout) == (0, "stage 7 (page): up to date\n")
    with open(made.models[1] / "log/train.jsonl", "a") as log:
        log.write('{"epoch": 6, "loss": 0.1}\n')
    changed = pages(made, "--audio", "false")
    assert changed.returncode == 0, changed.stderr
    assert "stage 7 (page): " in changed.stdout and "changed" in changed.stdout
    assert "voices of the corpus" not in made.page("toy_none").read_text()


def test_stage_6_has_not_run(made: Run) -> None:
    (made.models[1] / "metrics/toy/trials.json").unlink()
    done = pages(made)
    assert done.returncode == 1
    assert "toy_none/metrics/toy/trials.json: not there: run stage 6 first" in done.stderr
    assert not (made.models[0].parent / ".done.page").exists()


def test_a_teacher_without_scores(made: Run) -> None:
    make_table(made.models[0])
    forget_scores(made.models[0])
    done = pages(made, "--teacher-scored", "false", "--audio", "false")
    assert done.returncode == 0, done.stderr
    assert "toy_teacher has no scores here" in made.page("toy_none").read_text()
    again = pages(made, "--teacher-scored", "false", "--audio", "false")
    assert (again.returncode, again.stdout) == (0, "stage 7 (page): up to date\n")
