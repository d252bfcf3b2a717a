"""egs/voxceleb/prepare.sh: from a tree of VoxCeleb1's shape, with audio, to the sets that stage 1 reads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

ROOT = Path(__file__).parents[2]
NAMES = [
    "id10001/1zcIwhmdeo4/00001.wav", "id10001/1zcIwhmdeo4/00002.wav", "id10002/-fJ_x8q2D0A/00001.wav",
    "id10270/x6uYqmx31kE/00001.wav", "id10270/GWXujl-xAVM/00017.wav", "id10271/1gtz-CUIygI/00001.wav",
]


@pytest.fixture
def voxceleb1(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "vox1/wav" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.uniform(-0.1, 0.1, 16000), 16000)
    (tmp_path / "veri_test2.txt").write_text(f"1 {NAMES[3]} {NAMES[4]}\n0 {NAMES[3]} {NAMES[5]}\n")
    return tmp_path / "vox1"


def prepare(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    command = ["egs/voxceleb/prepare.sh", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_sets_cuts_and_trials(voxceleb1: Path, tmp_path: Path) -> None:
    options = (
        "--trials", tmp_path / "veri_test2.txt", "--allow-partial", "true", "--teacher-speakers", "", voxceleb1,
        tmp_path / "data",
    )  # fmt: skip
    done = prepare(*options)
    assert done.returncode == 0, done.stderr
    sets = yaml.safe_load((tmp_path / "data/voxceleb.sets.yaml").read_text())
    assert sets == {
        "train": "vox1_dev", "teacher": "vox1_dev", "tests": ["vox1_test"], "lists": ["vox1_test/veri_test2"]
    }
    trials = (tmp_path / "data/vox1_test/veri_test2").read_text().splitlines()
    assert trials[1] == "id10270-x6uYqmx31kE-00001 id10271-1gtz-CUIygI-00001 nontarget"
    assert (tmp_path / "data/manifests/vox1_dev.jsonl.gz").is_file()
    assert "id10002--fJ_x8q2D0A-00001 1.000" in (tmp_path / "data/vox1_dev/utt2dur").read_text()

    again = prepare(*options)
    assert again.returncode == 0 and "stage 0 (voxceleb): up to date" in again.stdout
    assert "vox1_dev          2/1211" in done.stdout and "teacher overlap not checked" in done.stdout
    (voxceleb1 / "wav" / NAMES[1]).unlink()
    changed = prepare(*options)
    assert changed.returncode == 0, changed.stderr
    assert "stage 0 (voxceleb): vox1_dev/utt2spk changed" in changed.stdout
    assert len((tmp_path / "data/vox1_dev/utt2spk").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", "out"], "no VoxCeleb: give its folder (run.sh: --voxceleb1 DIR, --voxceleb2 DIR)"),
        (["vox1", "out"], "no list of trials: give veri_test2.txt (run.sh: --voxceleb-trials FILE)"),
        (["--trials", "gone.txt", "vox1", "out"], "gone.txt: no such file"),
    ],
)
def test_what_is_missing_is_said_in_one_line(arguments: list[str], message: str) -> None:
    done = prepare(*arguments)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (ROOT / "out").exists()
