from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from imlkd.corpora.audio import AudioReader
from imlkd.corpora.fingerprint import data_hash
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts, write_cuts
from imlkd.corpora.prepare import prepare_corpus
from imlkd.corpora.sets import read_sets
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table

Corpus = Callable[..., Path]
RATE = 16000
LIST = "t1-r1 t1-r2 target\nt1-r1 t2-r1 nontarget\n"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def train(corpus: Corpus, tmp_path: Path) -> Path:
    return corpus(tmp_path / "a" / "train", segments=True)


@pytest.fixture
def test(corpus: Corpus, tmp_path: Path) -> Path:
    folder = corpus(tmp_path / "b" / "test", ("t1", "t2"))
    (folder / "trials").write_text(LIST)
    return folder


def test_sets_cuts_and_lists(train: Path, test: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "data", []
    prepare_corpus(train, [test], [test / "trials"], out, sets_file=out / "k.sets.yaml", nj=2, say=said.append)
    assert sorted(os.listdir(out)) == ["k.sets.yaml", "manifests", "test", "train"]
    assert said[:2] == [f"{path}: audio paths are absolute" for path in (train, test)]
    assert said[2] == "train: 8 utterances in 4 recordings, 2 speakers, 0.00 h"
    assert said[3] == "test: 4 utterances in 4 recordings, 2 speakers, 0.00 h, trials trials"
    for name in ("segments", "utt2spk", "spk2utt", "spk2gender", "wav.scp"):
        assert (out / "train" / name).read_bytes() == (train / name).read_bytes()
    assert (out / "test" / "trials").read_text() == LIST
    assert set(read_table(out / "train" / "utt2dur").values()) == {"0.500"}
    assert set(read_table(out / "train" / "reco2dur").values()) == {"1.000"}
    assert data_hash(out / "train") == data_hash(train)
    sets = read_sets(out / "k.sets.yaml")
    assert (sets.train, sets.tests, sets.lists) == ("train", ["test"], ["test/trials"])
    reader = AudioReader(read_data_dir(out / "train"), RATE)
    cuts = CutSet.from_file(out / "manifests" / "train.jsonl.gz").to_eager()
    assert list(cuts.ids) == reader.data.utterances
    for cut in cuts:
        np.testing.assert_array_equal(cut.load_audio()[0], reader.read(cut.id))
    validate = Path(__file__).parents[2] / "utils" / "validate_data_dir.sh"
    for name in ("train", "test"):
        subprocess.run(["bash", validate, "--no-text", "--no-feats", out / name], check=True, capture_output=True)


def test_again_gives_the_same_files(train: Path, test: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare_corpus(train, [test], [test / "trials"], out, nj=2)
    before = snapshot(out)
    (out / "train" / "left.over").write_text("from another corpus")
    leftover = out / ".staging.tmp999999999"
    leftover.mkdir()
    prepare_corpus(train, [test], [test / "trials"], out)
    assert snapshot(out) == before and not leftover.exists()


def test_relative_paths_become_absolute(train: Path, test: Path, tmp_path: Path) -> None:
    text = (train / "wav.scp").read_text()
    (train / "wav.scp").write_text(text.replace(f"{train.parent}/", ""))
    said: list[str] = []
    prepare_corpus(train, [test], [test / "trials"], tmp_path / "data", say=said.append)
    assert (tmp_path / "data" / "train" / "wav.scp").read_text() == text
    assert said[0] == f"{train}: audio paths are relative to {train.parent} (the data directory's parent)"


def test_a_set_at_its_place_keeps_its_files(train: Path, test: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    for folder in (train, test):
        shutil.copytree(folder, out / folder.name)
    (out / "train" / "my.notes").write_text("mine")
    before = snapshot(out)
    prepare_corpus(out / "train", [out / "test"], [out / "test" / "trials"], out)
    after = snapshot(out)
    assert {name: after[name] for name in before} == before
    added = {f"{name}/{table}" for name in ("train", "test") for table in ("utt2dur", "reco2dur", "reco2sha256")}
    assert set(after) - set(before) == added | {"manifests/train.jsonl.gz", "manifests/test.jsonl.gz"}
    with pytest.raises(UserError, match="data/train: is there already and wasn't made from a corpus: move it"):
        prepare_corpus(train, [test], [test / "trials"], out)
    assert snapshot(out) == after


def test_cuts_instead_of_directories(train: Path, test: Path, tmp_path: Path) -> None:
    cuts = to_cuts(read_data_dir(train))
    for number, cut in enumerate(cuts):
        cut.custom = {**(cut.custom or {}), "snr": [number, {"deep": 1}]}
    write_cuts(reversed(cuts), tmp_path / "mine.jsonl.gz")
    write_cuts(to_cuts(read_data_dir(test)), tmp_path / "b" / "held_out.jsonl.gz")
    out, said = tmp_path / "data", []
    prepare_corpus(
        tmp_path / "mine.jsonl.gz", [tmp_path / "b" / "held_out.jsonl.gz"], [test / "trials"], out, say=said.append
    )
    kept = "custom fields that fit no Kaldi table are kept in utt2lhotse: snr (8 cuts)"
    assert said[0] == f"{tmp_path}/mine.jsonl.gz: {kept}"
    for name in ("wav.scp", "utt2spk", "spk2utt", "spk2gender", "segments"):
        assert (out / "mine" / name).read_bytes() == (train / name).read_bytes()
    assert sorted(os.listdir(out / "held_out")) == sorted(
        [".made_from", "reco2dur", "reco2sha256", "spk2gender", "spk2utt", "trials", "utt2dur", "utt2spk", "wav.scp"]
    )
    kept = read_cuts(out / "manifests" / "mine.jsonl.gz")
    assert [cut.id for cut in kept] == [cut.id for cut in cuts]
    assert [cut.custom["snr"] for cut in kept] == [[number, {"deep": 1}] for number in range(8)]


def test_lists_find_their_cuts_by_their_utterances(train: Path, test: Path, corpus: Corpus, tmp_path: Path) -> None:
    other = corpus(tmp_path / "c" / "test", ("t3", "t4"))
    paths = [tmp_path / "b" / "one.jsonl.gz", tmp_path / "b" / "two.jsonl.gz"]
    for folder, path in zip((test, other), paths, strict=True):
        write_cuts(to_cuts(read_data_dir(folder)), path)
    (tmp_path / "b" / "list3").write_text(LIST.replace("t1", "t3").replace("t2", "t4"))
    lists = [tmp_path / "b" / "list3", test / "trials"]
    prepared = prepare_corpus(train, paths, lists, tmp_path / "data")
    assert {one.name: list(one.lists) for one in prepared} == {"train": [], "one": ["trials"], "two": ["list3"]}
    (tmp_path / "b" / "list3").write_text("t1-r1 t1-r2 target\nt1-r1 t4-r1 nontarget\n")
    with pytest.raises(UserError, match="list3: 0 of the test cuts .* hold all its utterances: mend the list"):
        prepare_corpus(train, paths, lists, tmp_path / "data2")


def test_cuts_a_little_longer_than_the_audio(train: Path, test: Path, tmp_path: Path) -> None:
    cuts = to_cuts(read_data_dir(train))
    cuts[1].duration += 0.005
    cuts[1].recording.num_samples += 80
    cuts[1].recording.duration += 0.005
    write_cuts(cuts, tmp_path / "mine.jsonl.gz")
    prepare_corpus(tmp_path / "mine.jsonl.gz", [test], [], tmp_path / "data")
    cut = read_cuts(tmp_path / "data" / "manifests" / "mine.jsonl.gz")[1]
    samples = AudioReader(read_data_dir(tmp_path / "data" / "mine"), RATE).read(cut.id)
    assert cut.num_samples == len(samples) == 8000
    np.testing.assert_array_equal(cut.load_audio()[0], samples)


def test_voxceleb_lists_become_kaldi_lists(train: Path, test: Path, tmp_path: Path) -> None:
    (test / "trials").write_text("1 t1-r1 t1-r2\n0 t1-r1 t2-r1\n")
    prepare_corpus(train, [test], [test / "trials"], tmp_path / "data")
    assert (tmp_path / "data" / "test" / "trials").read_text() == LIST


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("t1-r1 t1-r2 target\nt1-r1 t9-r1 nontarget\n", "test ids are not in "),
        (LIST.replace("nontarget", "impostor"), "trials:2: label 'impostor' is none of"),
        ("t1-r1 t1-r2 target\nt1-r1 t2-r1 target\n", "only targets"),
        (
            "t1-r1 t1-r2 nontarget\nt1-r1 t2-r1 target\n",
            "trials:1: t1-r1 t1-r2 is called nontarget, by utt2spk it is one",
        ),
    ],
)
def test_bad_lists(content: str, fragment: str, train: Path, test: Path, tmp_path: Path) -> None:
    (test / "trials").write_text(content)
    with pytest.raises(UserError) as caught:
        prepare_corpus(train, [test], [test / "trials"], tmp_path / "data")
    assert fragment in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_names_and_places(train: Path, test: Path, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "data"
    (tmp_path / "trials").write_text(LIST)
    with pytest.raises(UserError, match="trials: lies in none of the test directories .*/b/test"):
        prepare_corpus(train, [test], [tmp_path / "trials"], out)
    other = corpus(tmp_path / "c" / "test", ("t3", "t4"))
    with pytest.raises(UserError, match="c/test and .*b/test would both be called test: give one .*ln -s"):
        prepare_corpus(train, [test, other], [], out)
    (tmp_path / "held_out").symlink_to(other)
    assert [one.name for one in prepare_corpus(train, [test, tmp_path / "held_out"], [], out)][2] == "held_out"
    manifests = tmp_path / "manifests"
    shutil.copytree(train, manifests)
    with pytest.raises(UserError, match="a set can't be called 'manifests'"):
        prepare_corpus(manifests, [test], [], out)


def test_a_failure_leaves_what_was_there(
    train: Path, test: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"
    prepare_corpus(train, [test], [test / "trials"], out)
    before = snapshot(out)
    soundfile.write(test.parent / "audio" / "t2-r2.flac", np.full(RATE, 0.1), RATE)
    with pytest.raises(UserError, match="t2-r2: .*silent"):
        prepare_corpus(train, [test], [test / "trials"], out)
    assert snapshot(out) == before

    soundfile.write(test.parent / "audio" / "t2-r2.flac", np.r_[np.full(RATE, 0.1), 0.2], RATE)
    rename = os.rename

    def fail_on_test(source: Path, target: Path) -> None:
        if Path(target) == out / "test" and not str(source).endswith(".replaced"):
            raise OSError(28, "No space left on device", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_on_test)
    with pytest.raises(UserError, match="data/test: no space left on the device: free some"):
        prepare_corpus(train, [test], [test / "trials"], out)
    assert snapshot(out) == before


SVMINI = os.environ.get("SVMINI", "")


@pytest.mark.skipif(not SVMINI, reason="SVMINI isn't set")
def test_real_speech(tmp_path: Path) -> None:
    root = Path(SVMINI)
    tests = [root / "test", root / "test_short"]
    lists = [folder / name for folder in tests for name in ("trials", "trials_asc", "trials_libri")]
    said: list[str] = []
    prepare_corpus(root / "train", tests, lists, tmp_path / "data", nj=2, say=said.append)
    assert all(f"relative to {root} (the data directory's parent)" in line for line in said[:3])
    assert said[3].startswith("train: 1447 utterances in 233 recordings, 170 speakers, 1.21 h")
    for folder in (root / "train", *tests):
        data, prepared = read_data_dir(folder), read_data_dir(tmp_path / "data" / folder.name)
        assert prepared.segments == data.segments and prepared.utt2dur == data.utt2dur
        assert (prepared.utt2spk, prepared.spk2gender) == (data.utt2spk, data.spk2gender)
        assert data_hash(folder) == data_hash(prepared.path)
    for path in lists:
        assert (tmp_path / "data" / path.parent.name / path.name).read_bytes() == path.read_bytes()
    reader = AudioReader(read_data_dir(root / "test_short"), RATE)
    cuts = list(CutSet.from_file(tmp_path / "data" / "manifests" / "test_short.jsonl.gz"))
    assert [cut.id for cut in cuts] == reader.data.utterances
    for cut in cuts[::50]:
        np.testing.assert_array_equal(cut.load_audio()[0], reader.read(cut.id))
