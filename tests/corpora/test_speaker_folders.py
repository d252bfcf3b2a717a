"""CN-Celeb, LibriSpeech, LibriTTS, VCTK and folders of one's own, on trees of their exact layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.sets import read_sets
from imlkd.corpora.speaker_folders import LAYOUTS, prepare_folders
from imlkd.corpora.trials.drawn import drawn_trials
from imlkd.corpora.trials.lists import read_trials
from imlkd.errors import UserError

TREES = {
    "cnceleb": [
        "CN-Celeb_flac/data/id00000/singing-01-001.flac", "CN-Celeb_flac/data/id00000/live_broadcast-02-003.flac",
        "CN-Celeb_flac/data/id00001/speech-01-001.flac", "CN-Celeb_flac/data/id00800/singing-01-001.flac",
        "CN-Celeb_flac/eval/enroll/id00800-enroll.flac", "CN-Celeb_flac/eval/test/id00800-singing-01-001.flac",
        "CN-Celeb_flac/eval/enroll/id00801-enroll.flac", "CN-Celeb_flac/eval/test/id00801-live_broadcast-01-002.flac",
    ],
    "librispeech": [
        "train-clean-100/19/198/19-198-0000.flac", "train-clean-100/19/198/19-198-0001.flac",
        "train-other-500/190/1/190-1-0000.flac", "test-clean/61/70968/61-70968-0000.flac",
        "test-clean/61/70970/61-70970-0001.flac", "test-other/367/293981/367-293981-0000.flac",
        "test-other/367/130732/367-130732-0002.flac", "test-other/367/130732/367-130732.trans.txt",
    ],
    "libritts": [
        "train-clean-100/19/198/19_198_000000_000000.wav", "train-clean-100/190/1/190_1_000000_000002.wav",
        "test-clean/61/70968/61_70968_000000_000001.wav", "test-clean/61/70968/61_70968_000001_000000.wav",
        "test-other/367/1/367_1_000000_000001.wav", "test-other/367/1/367_1_000002_000001.normalized.txt",
    ],
    "vctk": [
        "wav48_silence_trimmed/p225/p225_001_mic1.flac", "wav48_silence_trimmed/p225/p225_001_mic2.flac",
        "wav48_silence_trimmed/p226/p226_003_mic1.flac", "wav48_silence_trimmed/s5/s5_001_mic1.flac",
        "wav48_silence_trimmed/s5/s5_002_mic1.flac", "wav48_silence_trimmed/log.txt",
    ],
    "folders": ["x/ann/a-1.wav", "x/ann/a2.wav", "y/bob/b1.flac", "y/bob/b2.flac", "z/cyd/c1.wav"],
}  # fmt: skip
TABLES = {
    "librispeech": ("SPEAKERS.TXT", ";ID | SEX | SUBSET\n19   | F | train-clean-100  | 25.19 | Kara\n"
                    "190  | M | x | 3 | X\n"
                    "61   | M | test-clean | 8.0 | Paul\n367  | M | test-other | 8 | Y\n"),
    "vctk": ("speaker-info.txt", "ID  AGE  GENDER  ACCENTS\np225  23  F    English    Southern\n"
             "p226  22  M    English    Surrey\ns5  20  M  X\n"),
}  # fmt: skip
EXPECTED = {
    "cnceleb": (["id00000-live-broadcast-02-003", "id00000-singing-01-001", "id00001-speech-01-001"],
                ["id00800-enroll", "id00800-singing-01-001", "id00801-enroll", "id00801-live-broadcast-01-002"]),
    "librispeech": (["19-198-0000", "19-198-0001", "190-1-0000"],
                    ["367-130732-0002", "367-293981-0000", "61-70968-0000", "61-70970-0001"]),
    "libritts": (["19-198-000000-000000", "190-1-000000-000002"],
                 ["367-1-000000-000001", "61-70968-000000-000001", "61-70968-000001-000000"]),
    "vctk": (["p226-003"], ["p225-001", "s5-001", "s5-002"]),
    "folders": (["ann-a-1", "ann-a2"], ["bob-b1", "bob-b2", "cyd-c1"]),
}  # fmt: skip
TESTED = {"vctk": ["p225", "s5"], "folders": ["bob", "cyd"]}


def make_tree(name: str, root: Path) -> Path:
    for path in TREES[name]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"audio")
    if name in TABLES:
        (root / TABLES[name][0]).write_text(TABLES[name][1])
    if name == "cnceleb":
        (root / "CN-Celeb_flac/eval/lists").mkdir()
        (root / "CN-Celeb_flac/eval/lists/trials.lst").write_text(
            "id00800-enroll test/id00800-singing-01-001.wav 1\n"
            "id00800-enroll test/id00801-live_broadcast-01-002.wav 0\n"
        )
    return root


@pytest.mark.parametrize("name", TREES)
def test_layouts(name: str, tmp_path: Path) -> None:
    source, said = make_tree(name, tmp_path / "corpus"), list[str]()
    tested = TESTED.get(name, [])
    sets = prepare_folders(LAYOUTS[name], source, tmp_path / "out", tested, drawn=4, say=said.append)
    assert read_sets(tmp_path / f"out/{name}.sets.yaml") == sets
    train, test = (read_data_dir(tmp_path / "out" / part) for part in (sets.train, *sets.tests))
    assert (train.utterances, test.utterances) == EXPECTED[name]
    assert all(Path(path).is_file() for path in (*train.wav.values(), *test.wav.values()))
    assert not set(train.spk2utt) & set(test.spk2utt)
    if name in TABLES:
        assert {**(train.spk2gender or {}), **(test.spk2gender or {})}.items() >= {
            "librispeech": {"19": "f", "190": "m", "61": "m"}, "vctk": {"p225": "f", "p226": "m", "s5": "m"},
        }[name].items()  # fmt: skip
    trials = read_trials(tmp_path / "out" / sets.lists[0])
    for (one, other), is_target in zip(trials.pairs(), trials.is_target, strict=True):
        assert (test.utt2spk[one] == test.utt2spk[other]) == is_target
    if name == "cnceleb":
        assert sets.lists == ["cnceleb_test/trials"] and len(trials) == 2
        assert Path(test.wav["id00800-singing-01-001"]).parent.name == "test"
        assert any("1 passed over, the same utterance again" in line for line in said)
    else:
        assert "pairs of the test speakers are drawn" in "".join(said)
    if name in ("librispeech", "libritts", "vctk"):
        assert any("no audio by its name" in line for line in said)


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    source = make_tree("librispeech", tmp_path / "libri")
    with pytest.raises(UserError, match="no file is called as in cnceleb; it looks like LibriSpeech: mend the path"):
        prepare_folders(LAYOUTS["cnceleb"], source, tmp_path / "out", say=lambda line: None)
    with pytest.raises(UserError, match=r"test speakers: 1 of them have no audio \(first: nobody\)"):
        prepare_folders(LAYOUTS["librispeech"], source, tmp_path / "out", ["61", "nobody"], say=lambda line: None)
    vctk = make_tree("vctk", tmp_path / "vctk")
    with pytest.raises(UserError, match="test speakers: none are known: name others with --test-speakers FILE"):
        prepare_folders(LAYOUTS["vctk"], vctk, tmp_path / "out", say=lambda line: None)
    with pytest.raises(UserError, match="all 3 speakers are for testing"):
        prepare_folders(LAYOUTS["vctk"], vctk, tmp_path / "out", ["p225", "p226", "s5"], say=lambda line: None)
    (tmp_path / "list").write_text("61-1-1 367-1-1 target\n61-1-1 61-1-2 nontarget\n")
    with pytest.raises(UserError, match="list: 1 of 1 enrolment ids and 2 of 2 test ids are not in"):
        prepare_folders(LAYOUTS["librispeech"], source, tmp_path / "out", trials=[tmp_path / "list"], say=print)
    assert not any((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_drawn_trials_are_balanced_and_the_same_again() -> None:
    utt2spk = {f"s{s}-{u}": f"s{s}" for s in range(6) for u in range(8)}
    genders = {f"s{s}": "mf"[s % 2] for s in range(6)}
    trials = drawn_trials(utt2spk, genders, 100)
    assert len(trials) == 100 and trials.is_target.sum() == 50 and len(set(trials.pairs())) == 100
    for (one, other), is_target in zip(trials.pairs(), trials.is_target, strict=True):
        assert (utt2spk[one] == utt2spk[other]) == is_target and genders[utt2spk[one]] == genders[utt2spk[other]]
    assert drawn_trials(utt2spk, genders, 100).pairs() == trials.pairs()
    with pytest.raises(UserError, match="no trials can be drawn of 1 test speakers"):
        drawn_trials({"a-1": "a", "a-2": "a"}, {}, 4)
