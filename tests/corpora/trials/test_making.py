"""Lists that are made, looked at as a user would: who is compared with whom, how often, across what."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.corpora.trials.making import Made, Voices, make_trials, read_voices
from imlkd.errors import UserError


def voices(speakers: int = 12, utterances: int = 6, recordings: int = 3, known: bool = True) -> Voices:
    names = {f"s{i:02d}": [f"s{i:02d}-{j}" for j in range(utterances)] for i in range(speakers)}
    recording = {one: f"{one[:3]}-r{int(one[4:]) % recordings}" for group in names.values() for one in group}
    gender = {name: "fm"[i % 2] for i, name in enumerate(names)}
    corpus = {name: "xy"[i // 2 % 2] for i, name in enumerate(names)}
    return Voices(names, recording, gender, corpus) if known else Voices(names)


def make(given: Voices, targets: int = 5, nontargets: int = 5, seed: int = 0) -> Made:
    return make_trials(given, targets, nontargets, seed, Path("list"))


def rows(made: Made) -> list[tuple[str, str, bool]]:
    trials = made.trials
    return list(zip(trials.enroll, trials.test, trials.is_target.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    speakers=st.integers(4, 14), utterances=st.integers(2, 7), recordings=st.integers(1, 4),
    targets=st.integers(1, 9), nontargets=st.integers(1, 9), seed=st.integers(0, 5),
)  # fmt: skip
def test_rules_hold_whatever_is_asked_for(
    speakers: int, utterances: int, recordings: int, targets: int, nontargets: int, seed: int
) -> None:
    given = voices(speakers, utterances, recordings)
    groups = given.groups()
    if max(map(len, groups.values())) < 2:
        return
    made = rows(make(given, targets, nontargets, seed))
    assert len({frozenset(row[:2]) for row in made}) == len(made) and all(row[0] != row[1] for row in made)
    for enroll, test, same in made:
        one, other = enroll[:3], test[:3]
        assert same == (one == other)
        assert given.gender[one] == given.gender[other] and given.corpus[one] == given.corpus[other]
    for speaker, names in given.utterances.items():
        own = [row for row in made if row[2] and row[0][:3] == speaker]
        pairs = utterances * (utterances - 1) // 2
        assert len(own) == min(targets, pairs)
        across = sum(given.recording[a] != given.recording[b] for a in names for b in names if a < b)
        assert sum(given.recording[a] != given.recording[b] for a, b, _ in own) == min(targets, across)


def test_speakers_and_utterances_are_balanced() -> None:
    made = rows(make(voices(12, 6, 6), 6, 4))
    for same, side in ((True, 0), (False, 0), (False, 1)):
        counts = Counter(row[side][:3] for row in made if row[2] is same)
        assert set(counts.values()) == {6 if same else 4}, (same, side)
    used = Counter(name for row in made for name in row[:2])
    assert max(used.values()) - min(used.values()) <= 3


def test_same_seed_same_list_whatever_the_order_of_the_tables() -> None:
    given = voices()
    other = Voices(
        {speaker: names[::-1] for speaker, names in reversed(given.utterances.items())}, given.recording, given.gender,
        given.corpus,
    )  # fmt: skip
    assert rows(make(given)) == rows(make(other))
    assert rows(make(given)) != rows(make(given, seed=1))


def test_what_was_done_is_said() -> None:
    assert make(voices(), 12, 5).said == [
        "list: 144 target and 60 nontarget trials of 12 speakers, seed 0",
        "targets: 12 wanted a speaker, 12 to 12 found; 144 across recordings, 0 within one",
        "nontargets: 5 wanted a speaker, 5 to 5 found; same gender and corpus",
    ]
    said = make(voices(known=False), 20, 3).said
    assert "15 to 15 found; 180 across recordings, 0 within one (no utt2rec or segments" in said[1]
    assert said[2].endswith("any two speakers (gender and corpus unknown: not looked at)")
    single = make(Voices({"a": ["a-1"], "b": ["b-1", "b-2"], "c": ["c-1"]}, {}, {"a": "m", "b": "m", "c": "f"}), 2, 2)
    assert single.said[3:] == [
        "without target trials: 2 speakers, first: a, c", "without nontarget trials: 1 speakers, first: c"
    ]  # fmt: skip


def test_no_list_without_both_kinds() -> None:
    with pytest.raises(UserError, match="give 0 target and 1 nontarget trials: both kinds"):
        make(Voices({"a": ["a-1"], "b": ["b-1"], "c": ["c-1"]}, {}, {"a": "m", "b": "m", "c": "f"}))
    with pytest.raises(UserError, match="give 2 target and 0 nontarget trials"):
        make(Voices({"a": ["a-1", "a-2"], "b": ["b-1", "b-2"]}, {}, {"a": "m", "b": "f"}))


def test_data_directory(tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("a-1 a\na-2 a\nb-1 b\n")
    assert read_voices(tmp_path) == Voices({"a": ["a-1", "a-2"], "b": ["b-1"]})
    (tmp_path / "segments").write_text("a-1 r1 0.0 1.0\na-2 r1 1.0 2.0\nb-1 r2 0.0 1.0\n")
    (tmp_path / "spk2gender").write_text("a m\nb f\n")
    (tmp_path / "utt2corpus").write_text("a-1 x\na-2 x\nb-1 y\n")
    found = read_voices(tmp_path)
    assert found.recording == {"a-1": "r1", "a-2": "r1", "b-1": "r2"}
    assert (found.gender, found.corpus) == ({"a": "m", "b": "f"}, {"a": "x", "b": "y"})
    (tmp_path / "utt2rec").write_text("a-1 s1\na-2 s2\nb-1 s3\n")
    assert read_voices(tmp_path).recording["a-2"] == "s2"
    (tmp_path / "utt2corpus").write_text("a-1 x\na-2 y\nb-1 y\n")
    with pytest.raises(UserError, match="utt2corpus: a is in x and in y: a speaker has one corpus"):
        read_voices(tmp_path)
    (tmp_path / "spk2gender").write_text("a m\n")
    with pytest.raises(UserError, match="spk2gender: 1 of 2 ids are not in it, first: b"):
        read_voices(tmp_path)
    with pytest.raises(UserError, match="nowhere: no such file"):
        read_voices(tmp_path, utt2rec=tmp_path / "nowhere")
