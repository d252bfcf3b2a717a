"""egs/cnceleb, librispeech, vctk and template: from a tree to the command that goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = {
    "cnceleb": ["data/id00001/speech-01-001.flac", "eval/enroll/id00800-enroll.flac",
                "eval/test/id00800-singing-01-001.flac", "eval/enroll/id00801-enroll.flac"],
    "librispeech": ["train-clean-100/19/198/19-198-0000.flac", "test-clean/61/1/61-1-0000.flac",
                    "test-clean/61/2/61-2-0000.flac", "test-other/367/1/367-1-0000.flac"],
    "vctk": ["wav48/p225/p225_001.wav", "wav48/p225/p225_002.wav", "wav48/p226/p226_001.wav",
             "wav48/p227/p227_001.wav"],
    "template": ["ann/1.wav", "ann/2.wav", "bob/1.wav", "cyd/1.wav"],
}  # fmt: skip
TESTED = {"vctk": "p225\np226\n", "template": "ann\nbob\n"}


@pytest.mark.parametrize("name", TREES)
def test_prepare(name: str, tmp_path: Path) -> None:
    for path in TREES[name]:
        (tmp_path / "corpus" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / path).touch()
    options = ["--drawn", "2"]
    if name in TESTED:
        (tmp_path / "speakers").write_text(TESTED[name])
        options += ["--test-speakers", str(tmp_path / "speakers")]
    command = [f"egs/{name}/prepare.sh", *options, str(tmp_path / "corpus"), str(tmp_path / "out")]
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if name == "cnceleb":  # it has a list of its own, which this tree lacks: pairs are drawn
        assert "no list of trials" in done.stdout
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()[-1].split()
    assert words[:3] == ["./run.sh", "--corpus", "kaldi"]
    for option in ("--train", "--test", "--trials"):
        assert Path(words[words.index(option) + 1]).exists()
