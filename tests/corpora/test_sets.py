"""The names of the sets, from stage 0 to the later ones."""

import subprocess
from pathlib import Path

import pytest

from imlkd.corpora.sets import RecipeSets, read_sets, to_shell, write_sets
from imlkd.errors import UserError

SETS = RecipeSets("train", "teacher_train", ["t 1", "t$(touch pwned)2"], ["t 1/trials", "t2/it's"])


def test_round_trip(tmp_path: Path) -> None:
    write_sets(SETS, tmp_path / "data/kaldi.sets.yaml")
    assert read_sets(tmp_path / "data/kaldi.sets.yaml") == SETS


def test_a_shell_reads_the_same_names_and_runs_nothing(tmp_path: Path) -> None:
    script = to_shell(SETS) + '\nprintf "%s\\n" "$train_set" "$teacher_set" "$test_sets" "$lists"'
    run = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.splitlines() == ["train", "teacher_train", "t 1 t$(touch pwned)2", "t 1/trials t2/it's"]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    ["", "train: a\n", "- a\n", "train: [\n", "train: a\nteacher: b\ntests: null\nlists: [x]\n", "\x00",
     "train: a\nteacher: b\ntests: []\nlists: []\n", "train: a\nteacher: b\ntests: [c]\nlists: [x]\nmore: 1\n"],
)  # fmt: skip
def test_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(UserError, match=rf"^{tmp_path}/s\.yaml:.*: run stage 0 again \(--stage 0 --force true\)$"):
        read_sets(tmp_path / "s.yaml")


def test_stage_0_has_not_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s\.yaml: not there: run stage 0 first \(\./run\.sh --stage 0\)"):
        read_sets(tmp_path / "s.yaml")
