"""run.sh --corpus kaldi: what is missing is said before any work that would be lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from imlkd.kaldi_io import write_table

ROOT = Path(__file__).parents[2]


def make_set(folder: Path, speaker: str) -> Path:
    names = [f"{speaker}-{number}" for number in (1, 2)]
    for name in names:
        soundfile.write(folder.parent / f"{name}.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16000), 16000)
    write_table(folder / "wav.scp", {name: str(folder.parent / f"{name}.wav") for name in names})
    write_table(folder / "utt2spk", dict.fromkeys(names, speaker))
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
