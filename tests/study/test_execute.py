"""The part of a fold that is trained on. The runs themselves: tests/recipe."""

from pathlib import Path

import numpy as np
import soundfile

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.study.execute import write_training_part
from imlkd.study.plan import StudyConfig


def two_speakers(folder: Path) -> Path:
    (folder / "whole").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    for name in ("a-1", "b-1"):
        soundfile.write(folder / f"{name}.wav", noise, 16000)
    (folder / "whole/wav.scp").write_text("".join(f"{name} {folder}/{name}.wav\n" for name in ("a-1", "b-1")))
    (folder / "whole/utt2spk").write_text("a-1 a\nb-1 b\n")
    return folder / "whole"


def test_copies_at_other_speeds_are_new_speakers_and_made_once(tmp_path: Path) -> None:
    whole, out = read_data_dir(two_speakers(tmp_path)), tmp_path / "fold/train"
    out.parent.mkdir()
    write_training_part(StudyConfig(), whole, {"a"}, out)
    assert read_data_dir(out).utt2spk == {"a-1": "a"}
    fast = StudyConfig(speeds=[1.1])
    write_training_part(fast, whole, {"a"}, out)
    made = read_data_dir(out)
    assert made.utt2spk == {"a-1": "a", "sp1.1-a-1": "sp1.1-a"}
    assert soundfile.info(made.wav["sp1.1-a-1"]).frames == 14546  # 16000 / 1.1, rounded up
    before = (out / "utt2spk").stat().st_mtime_ns
    write_training_part(fast, whole, {"a"}, out)
    assert (out / "utt2spk").stat().st_mtime_ns == before
    write_training_part(fast, whole, {"b"}, out)  # other speakers: made again
    assert set(read_data_dir(out).spk2utt) == {"b", "sp1.1-b"}
