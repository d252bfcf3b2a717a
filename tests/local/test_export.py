"""local/export.sh: stage 7's export is done once, and again when something it rests on has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.features.fbank import FbankConfig
from imlkd.models.networks import build_network
from imlkd.models.store import save_model
from imlkd.models.tdnn import TdnnConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, toy_corpus: Path) -> Path:
    shutil.copytree(toy_corpus, tmp_path / "data/toy")
    (tmp_path / "data/toy/trials").write_text("s0-u0 s0-u1 target\ns0-u0 s1-u0 nontarget\n")
    write_sets(RecipeSets("toy", "toy", ["toy"], ["toy/trials"]), tmp_path / "data/toy.sets.yaml")
    save_model(build_network(TdnnConfig(width=4, blocks=1, embedding_dim=4), FbankConfig()), tmp_path / "exp/student")
    return tmp_path


def export(workspace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["local/export.sh", *options, str(workspace / "data/toy.sets.yaml"), str(workspace / "exp/student")]
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_it_is_done_once_and_again_when_an_option_changes(workspace: Path) -> None:
    first = export(workspace, "--format", "safetensors", "--licence", "CC-BY-4.0")
    assert first.returncode == 0, first.stderr
    assert "stage 7 (student, export): not done yet" in first.stdout
    out = workspace / "exp/student/export"
    assert (out / "model.safetensors").is_file() and "CC-BY-4.0" in (out / "README.md").read_text()
    again = export(workspace, "--format", "safetensors", "--licence", "CC-BY-4.0")
    assert again.stdout == "stage 7 (student, export): up to date\n"
    changed = export(workspace, "--format", "safetensors", "--licence", "CC0-1.0")
    assert "licence" in changed.stdout and "CC0-1.0" in (out / "README.md").read_text()


def test_what_is_refused_leaves_no_marker(workspace: Path) -> None:
    failed = export(workspace, "--format", "onyx")
    assert failed.returncode == 1 and "--format onyx: known are" in failed.stderr
    assert not (workspace / "exp/student/export/.done").exists()
