"""What large corpora meet: half-copied files, odd names, links in circles, two processes, a disk that fills."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from imlkd.corpora.folders import locked
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.interchange import import_kaldi
from imlkd.corpora.lhotse.shar import export_shar
from imlkd.corpora.prepare import prepare_corpus
from imlkd.corpora.speaker_folders import LAYOUTS, prepare_folders
from imlkd.errors import UserError

Corpus = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def sets(corpus: Corpus, tmp_path: Path) -> tuple[Path, Path]:
    """In folders whose names hold blanks and letters beyond ASCII."""
    train = corpus(tmp_path / "großer Korpus" / "train", ("s1", "s2", "s3"))
    test = corpus(tmp_path / "語 b" / "test", ("t1", "t2"))
    (test / "trials").write_text("t1-r1 t1-r2 target\nt1-r1 t2-r1 nontarget\nt2-r1 t2-r2 target\n")
    return train, test


def half_copied(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_half_copied_file_among_many(sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = sets
    half_copied(train.parent / "audio/s2-r1.flac")
    arguments = (train, [test], [test / "trials"], tmp_path / "out")
    with pytest.raises(UserError, match=r"1 of 10 utterances have bad audio, more than --max-bad 5% \(all in .*bad\)"):
        prepare_corpus(*arguments, bad_list=tmp_path / "bad", max_bad=0.05, say=lambda line: None)
    assert not (tmp_path / "out/train").exists()
    said: list[str] = []
    prepare_corpus(*arguments, bad_list=tmp_path / "bad", max_bad=0.1, say=said.append)
    assert any(line.startswith("left out: s2-r1: cut off or damaged") for line in said), said
    assert f"{train}: 1 of 6 utterances left out" in said
    assert "s2-r1" not in read_data_dir(tmp_path / "out/train").utt2spk
    assert (tmp_path / "bad").read_text().startswith("s2-r1 ")
    half_copied(train.parent / "audio/s2-r2.flac")
    prepare_corpus(*arguments, max_bad=0.2, say=said.append)
    assert f"{train}: 2 of 6 utterances left out, 1 speakers lose all of theirs" in said


def test_odd_names_and_audio_that_has_moved(sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = sets
    new = tmp_path / "new ü"
    (train.parent / "audio").rename(new)
    arguments = (train, [test], [test / "trials"], tmp_path / "a b" / "öut")
    with pytest.raises(UserError, match="no such file"):
        prepare_corpus(*arguments, say=lambda line: None)
    with pytest.raises(UserError, match="no path begins with"):  # of the test set, which lies where it lay
        prepare_corpus(*arguments, relocate=(str(train.parent / "audio"), str(new)), say=lambda line: None)
    both = tmp_path / "both"
    both.mkdir()
    for path in (*new.iterdir(), *(test.parent / "audio").iterdir()):
        path.rename(both / path.name)
    for folder in sets:
        (folder / "wav.scp").write_text((folder / "wav.scp").read_text().replace(f"{folder.parent}/audio", "/old ü"))
    with pytest.raises(UserError, match="no such file.* where all of it has moved, say so .`imlkd data relocate`"):
        prepare_corpus(*arguments, say=lambda line: None)
    prepare_corpus(*arguments, relocate=("/old ü", str(both)), say=lambda line: None)
    found = read_data_dir(tmp_path / "a b" / "öut" / "train")
    assert all(path.startswith(f"{both}/") and Path(path).is_file() for path in found.wav.values())


def test_links_in_a_circle(tmp_path: Path) -> None:
    for name in ("ann/1", "ann/2", "bob/1", "cyd/1"):
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / f"{name}.wav").touch()
    (tmp_path / "c/ann/loop").symlink_to(tmp_path / "c")
    (tmp_path / "c/gone.wav").symlink_to(tmp_path / "nowhere.wav")
    said: list[str] = []
    prepare_folders(LAYOUTS["folders"], tmp_path / "c", tmp_path / "out", ["ann", "bob"], drawn=2, say=said.append)
    assert len(read_data_dir(tmp_path / "out/folders_test").utt2spk) == 3
    assert any("1 passed over, folder seen already, through a link" in line for line in said)
    assert any("1 passed over, link to nothing" in line for line in said)


def test_two_processes_at_once(sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = sets
    command = [sys.executable, "-m", "imlkd.cli.main", "data", "prepare", "--train", train, "--test", test,
               "--trials", test / "trials", "--out", tmp_path / "out"]  # fmt: skip
    with locked(tmp_path / "out"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        second = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)
        assert second.stdout is not None
        line = second.stdout.readline()
        assert line == f"{tmp_path}/out: another process ({os.getpid()}) prepares it: waiting for that one\n"
        time.sleep(0.2)
        assert second.poll() is None and not (tmp_path / "out/train").exists()
    second.communicate(timeout=120)
    assert second.returncode == 0 and (tmp_path / "out/train/wav.scp").is_file()


def test_a_disk_that_fills(
    sets: tuple[Path, Path], tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    train, _ = sets
    for number, work in enumerate((
        lambda out: import_kaldi(train, out, say=lambda line: None),
        lambda out: export_shar(train, out, say=lambda line: None),
    )):  # fmt: skip
        out = tmp_path / "x" / str(number)
        with file_size_limit(100), pytest.raises(UserError, match="file-size limit is reached"):
            work(out)
        assert not out.exists() and [path.name for path in (tmp_path / "x").iterdir() if path.name != ".x"] == []
