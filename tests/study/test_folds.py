from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.trials.making import Voices
from imlkd.errors import UserError
from imlkd.study.folds import deal, read_fold, voices_of, write_folds, write_part


def make_data(folder: Path, speakers: int = 12) -> Path:
    """Two corpora by the beginning of the ids, two genders, two recordings a speaker of two utterances each."""
    data, audio = folder / "all", folder / "audio"
    audio.mkdir(parents=True)
    data.mkdir()
    tables: dict[str, list[str]] = {"wav.scp": [], "segments": [], "utt2spk": [], "spk2gender": []}
    for number in range(speakers):
        speaker = f"{'ab'[number % 2]}-{number:02}"
        tables["spk2gender"].append(f"{speaker} {'mf'[number // 2 % 2]}")
        for recording in ("r1", "r2"):
            name = f"{speaker}-{recording}"
            soundfile.write(audio / f"{name}.wav", np.random.default_rng(number).normal(size=1600) / 10, 16000)
            tables["wav.scp"].append(f"{name} audio/{name}.wav")
            for part, times in (("p1", "0.00 0.05"), ("p2", "0.05 0.10")):
                tables["segments"].append(f"{name}-{part} {name} {times}")
                tables["utt2spk"].append(f"{name}-{part} {speaker}")
    for name, lines in tables.items():
        (data / name).write_text("".join(f"{line}\n" for line in sorted(lines)))
    return data


def test_every_speaker_is_held_out_once_and_folds_are_alike(tmp_path: Path) -> None:
    voices = voices_of(make_data(tmp_path))
    folds = deal(voices, 3, seed=1)
    assert sorted(name for one in folds for name in one) == sorted(voices.utterances)
    for held in folds:
        assert Counter((voices.corpus[one], voices.gender[one]) for one in held) == Counter(
            {("a", "m"): 1, ("a", "f"): 1, ("b", "m"): 1, ("b", "f"): 1}
        )
    assert folds == deal(voices, 3, seed=1) != deal(voices, 3, seed=2)


def test_too_many_folds() -> None:
    with pytest.raises(UserError, match="3 folds of 4 speakers: each needs two at least: take fewer folds"):
        deal(Voices({name: [f"{name}-1"] for name in "abcd"}), 3, 0)


def test_written_and_read(tmp_path: Path) -> None:
    data = make_data(tmp_path, speakers=24)
    said = write_folds(data, tmp_path / "out", 3, targets=2, nontargets=1, seed=1)
    assert len(said) == 3 and said[0].startswith("fold 1: 8 speakers held out; ")
    fold = read_fold(tmp_path / "out", 2)
    held = set(fold.speaker.values())
    assert len(held) == 8 and len(fold.speaker) == 32
    assert set(fold.corpus.values()) == {"a", "b"}
    for enroll, test in fold.trials.pairs():
        assert fold.corpus[enroll] == fold.corpus[test]
    before = (tmp_path / "out/fold.2.trials").read_bytes()
    write_folds(data, tmp_path / "out", 3, targets=2, nontargets=1, seed=1)
    assert (tmp_path / "out/fold.2.trials").read_bytes() == before


def test_a_part_finds_its_audio_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_data_dir(make_data(tmp_path))
    write_part(data, {"a-00", "b-01"}, tmp_path / "elsewhere/part")
    monkeypatch.chdir("/")
    part = read_data_dir(tmp_path / "elsewhere/part")
    assert list(part.spk2utt) == ["a-00", "b-01"] and len(part.utt2spk) == 8 and len(part.wav) == 4
    assert all(Path(value).is_file() for value in part.wav.values())
    assert part.spk2gender == {"a-00": "m", "b-01": "m"}
