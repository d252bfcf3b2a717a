from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.scoring.speakers import speaker_trials, speakers_by_id

UTT2SPK = {"a-1": "a", "a-2": "a", "b-1": "b", "c-1": "c"}


def trials_of(*pairs: tuple[str, str]) -> Trials:
    enroll, test = zip(*pairs, strict=True)
    return Trials(Path("list"), "kaldi", list(enroll), list(test), np.zeros(len(pairs), dtype=np.bool_))


def test_models_have_the_speaker_of_their_utterances(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("m1 a-1 a-2\nm2 b-1 z-9\n")
    found = speakers_by_id(trials_of(("m1", "b-1"), ("m2", "a-1")), UTT2SPK, tmp_path / "models")
    assert (found["m1"], found["m2"], found["a-1"]) == ("a", "b", "a")
    scored = speaker_trials(trials_of(("m1", "b-1"), ("m2", "a-1")), np.array([1.0, 2.0]), found)
    assert scored.enroll_speaker.tolist() == scored.test_speaker.tolist()[::-1]


def test_model_of_two_speakers(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("m1 a-1 b-1\n")
    with pytest.raises(UserError, match="models: model m1 has utterances of a and b"):
        speakers_by_id(trials_of(("m1", "c-1")), UTT2SPK, tmp_path / "models")


def test_other_spellings_and_own_names_of_speakers() -> None:
    trials = trials_of(("a/1.wav", "b/1.wav"), ("c", "a/2.wav"))
    assert "a/1.wav" not in speakers_by_id(trials, UTT2SPK)
    with pytest.raises(UserError, match=r"first: a/1.wav, .*: a/1.wav -> a-1"):
        speaker_trials(trials, np.array([1.0, 2.0]), UTT2SPK)
    found = speakers_by_id(trials, UTT2SPK, id_map=IdMap("auto"))
    assert {name: found[name] for name in ("a/1.wav", "b/1.wav", "a/2.wav")} == {
        "a/1.wav": "a", "b/1.wav": "b", "a/2.wav": "a"
    }  # fmt: skip
    assert len(speaker_trials(trials, np.array([1.0, 2.0]), found).speakers()) == 3
