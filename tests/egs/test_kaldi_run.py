"""run.sh --corpus kaldi: what is missing is said before any work that would be lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from imlkd.kaldi_io import write_table

ROOT = Path(__file__).parents[2]


def make_set(folder: Path, *speakers: str) -> Path:
    folder.mkdir(parents=True)
    names = {f"{speaker}-{number}": speaker for speaker in speakers for number in (1, 2)}
    for name in names:
        soundfile.write(folder.parent / f"{name}.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16000), 16000)
    write_table(folder / "wav.scp", {name: str(folder.parent / f"{name}.wav") for name in names})
    write_table(folder / "utt2spk", names)
    return folder


def test_a_run_needs_trials(tmp_path: Path) -> None:
    train, test = make_set(tmp_path / "train", "a"), make_set(tmp_path / "test", "b")
    command = ["./run.sh", "--corpus", "kaldi", "--train", train, "--test", test]
    command += ["--data", tmp_path / "data", "--exp", tmp_path / "exp"]
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("imlkd: error: --trials: give at least one list of trials")
    assert done.stderr.count("\n") == 1 and "stage 1" not in done.stdout


def test_paths_with_blanks(tmp_path: Path) -> None:
    """Folders above a set may be called anything; its own name is a folder's and a word in lists of later stages."""
    here = tmp_path / "my öwn  data"
    train, test = make_set(here / "train", "a"), make_set(here / "test", "b", "c")
    (test / "trials").write_text("b-1 b-2 target\nb-1 c-1 nontarget\n")
    others = make_set(here / "other folder" / "test2", "d", "e")
    (others / "trials2").write_text("d-1 d-2 target\nd-1 e-1 nontarget\n")

    def prepare(tests: str, trials: str) -> subprocess.CompletedProcess[str]:
        command = ["egs/kaldi/prepare.sh", "--train", train, "--test", tests, "--trials", trials, tmp_path / "the data"]
        environment = os.environ | {"IMLKD_PYTHON": sys.executable}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    done = prepare(f"{test},{others}", f"{test}/trials,{others}/trials2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "the data/test2/trials2").is_file() and (tmp_path / "the data/manifests/test.jsonl.gz").is_file()
    assert prepare(f"{test},{others}", f"{test}/trials,{others}/trials2").stdout.endswith("up to date\n")
    (here / "the test").symlink_to(test)
    done = prepare(f"{here}/the test", f"{test}/trials")
    assert done.returncode == 1 and "the test: its name holds white space: rename it" in done.stderr
