"""Conditions by hand, and their error rates against those of the chosen trials."""

from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.scoring.conditions import conditions_of, evaluate_conditions, read_values
from imlkd.scoring.evaluate import Choices
from imlkd.scoring.metrics import eer

ENROLL, TEST = ["a-1", "a-1", "a-1", "a-2", "b-1", "b-1"], ["a-2", "a-3", "b-1", "c-1", "b-2", "c-1"]
TRIALS = Trials(Path("list"), "kaldi", ENROLL, TEST, np.array([True, True, False, False, True, False]))
UTT2SPK = {f"{speaker}-{i}": speaker for speaker in "abc" for i in range(1, 4)}


def write(folder: Path, **values: object) -> Path:
    (folder / "table").write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in values.items()))
    return folder / "table"


def chosen(name: str, folder: Path, bins: tuple[float, ...] = (2.0, 4.0), **values: object) -> dict[str, list[int]]:
    found = read_values(name, [write(folder, **values)], TRIALS, UTT2SPK)
    return {value: np.flatnonzero(mask).tolist() for value, mask in conditions_of(name, TRIALS, found, bins).items()}


def test_gender_of_speakers(tmp_path: Path) -> None:
    assert chosen("gender", tmp_path, a="f", b="m", c="f") == {"f": [0, 1, 3], "f/m": [2, 5], "m": [4]}


def test_noise_of_utterances_wins_over_that_of_speakers(tmp_path: Path) -> None:
    found = chosen("noise", tmp_path, a="clean", a_2="babble", b="clean", c="babble")
    assert found == {"babble": [3], "babble/clean": [0, 5], "clean": [1, 2, 4]}


def test_duration_of_the_shorter_side(tmp_path: Path) -> None:
    seconds = {"a_1": 5, "a_2": 1.5, "a_3": 4, "b_1": 2, "b_2": 9, "c_1": 30}
    assert chosen("duration", tmp_path, **seconds) == {"< 2 s": [0, 3], "2-4 s": [2, 4, 5], ">= 4 s": [1]}
    assert chosen("duration", tmp_path, (1.0,), **seconds) == {">= 1 s": [0, 1, 2, 3, 4, 5]}
    for wrong in (-2, 0, "nan", "inf", "long"):
        with pytest.raises(UserError, match=f"b-1: '{wrong}' is no duration"):
            chosen("duration", tmp_path, **{**seconds, "b_1": wrong})


def test_recordings_share_the_nontargets(tmp_path: Path) -> None:
    found = chosen("recording", tmp_path, a_1="r1", a_2="r1", a_3="r2", b_1="r3", b_2="r4", c_1="r5")
    assert found == {"same": [0, 2, 3, 5], "cross": [1, 2, 3, 4, 5]}


def test_missing_values_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table: 2 of 6 ids have no corpus, first: b-1, b-2: add them"):
        chosen("corpus", tmp_path, a="x", c="y")


def test_models_and_other_spellings(tmp_path: Path) -> None:
    trials = Trials(Path("list"), "kaldi", ["m1", "m2"], ["c/1.wav", "c/2.wav"], np.array([True, False]))
    (tmp_path / "models").write_text("m1 a-1 a-2\nm2 b-1\n")
    table = write(tmp_path, a_1=1.0, a_2=2.5, b_1=7.0, c_1=3.0, c_2=3.0)
    found = read_values("duration", [table], trials, {}, tmp_path / "models", IdMap("auto"))
    assert found == {"m1": "3.5", "m2": "7.0", "c/1.wav": "3.0", "c/2.wav": "3.0"}
    table = write(tmp_path, a_1="quiet", a_2="loud", b_1="loud", c_1="loud", c_2="quiet")
    found = read_values("noise", [table], trials, {}, tmp_path / "models", IdMap("auto"))
    assert (found["m1"], found["m2"]) == ("mixed", "loud")


def test_error_rates_are_those_of_the_part() -> None:
    generator = np.random.default_rng(0)
    names = [f"{speaker}-{i}" for speaker in "abcd" for i in range(6)]
    pairs = [(one, other) for i, one in enumerate(names) for other in names[i + 1 :]]
    same = np.array([one[0] == other[0] for one, other in pairs])
    trials = Trials(Path("list"), "kaldi", [p[0] for p in pairs], [p[1] for p in pairs], same)
    scores = generator.normal(np.where(same, 1.0, 0.0))
    gender = {name: "f" if name[0] in "ab" else "m" for name in names}
    speakers = {name: name[0] for name in names}
    masks = conditions_of("gender", trials, gender, ())
    found = evaluate_conditions("gender", masks, trials, scores, speakers, Choices(draws=50))
    counts = {one.value: (one.targets, one.nontargets) for one in found}
    assert counts == {"f": (30, 36), "f/m": (0, 144), "m": (30, 36)}
    for one in (found[0], found[2]):
        mask = masks[one.value]
        expected = eer(scores[mask & same], scores[mask & ~same])
        assert one.evaluation is not None and one.evaluation.eer.value == expected.value
        assert one.evaluation.speakers == 2 and one.evaluation.few_speakers
    assert found[1].evaluation is None and found[1].fields() == {"targets": 0, "nontargets": 144}
