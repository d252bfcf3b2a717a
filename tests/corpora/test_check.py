from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from imlkd.corpora.check import check_corpus, check_samples
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError

Corpus = Callable[..., Path]
RATE = 16000


def test_good_corpora(corpus: Corpus, tmp_path: Path) -> None:
    data = [read_data_dir(corpus(tmp_path / name / "d", segments=name == "b")) for name in ("a", "b")]
    found = check_corpus(data, RATE, nj=2)
    assert [list(one) for one in found] == [["s1-r1", "s1-r2", "s2-r1", "s2-r2"]] * 2
    recording = found[1]["s2-r1"]
    assert recording.info.samples == RATE
    content = (tmp_path / "b" / "audio" / "s2-r1.flac").read_bytes()
    assert recording.sha256 == hashlib.sha256(content).hexdigest()


def test_each_kind_of_bad_audio(spoilt: Any, corpus: Corpus, tmp_path: Path) -> None:
    data = read_data_dir(corpus(tmp_path / "d"))
    spoilt.spoil(tmp_path / "audio" / "s1-r2.flac")
    with pytest.raises(UserError) as caught:
        check_corpus([data], RATE)
    message = str(caught.value)
    place = f"{tmp_path}/d/wav.scp: s1-r2: {tmp_path}/audio/s1-r2.flac: "
    assert message.startswith(place) and "\n" not in message
    assert all(fragment in message for fragment in spoilt.fragments), message


def test_all_are_counted_five_are_listed(corpus: Corpus, tmp_path: Path) -> None:
    data = read_data_dir(corpus(tmp_path / "d", speakers=("s1", "s2", "s3", "s4"), segments=True))
    for name in ("s1-r1", "s1-r2", "s2-r1", "s2-r2", "s3-r1", "s3-r2"):
        (tmp_path / "audio" / f"{name}.flac").unlink()
    soundfile.write(tmp_path / "audio" / "s4-r1.flac", np.r_[np.zeros(8000), np.full(7999, 0.1), 0], RATE)
    bad = tmp_path / "bad"
    with pytest.raises(UserError) as caught:
        check_corpus([data], RATE, nj=2, bad_list=bad)
    message = str(caught.value)
    assert message.startswith(f"13 of 16 utterances have bad audio (all in {bad}): ")
    assert message.count(".flac: no such file") == 5 and "s3-r1" in message and "s3-r2" not in message
    assert "; and 2 more: " in message and message.count("put the file back") == 1
    lines = bad.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["s1-r1", "s1-r2", "s2-r1", "s2-r2", "s3-r1", "s3-r2", "s4-r1-a"]
    assert "silent" in lines[-1]


def test_segments_behind_the_end(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    text = (folder / "segments").read_text()
    (folder / "segments").write_text(text.replace("0.500 1.000", "0.500 1.010"))
    found = check_corpus([read_data_dir(folder)], RATE)
    assert len(found[0]) == 4
    (folder / "segments").write_text(text.replace("s2-r1 0.500 1.000", "s2-r1 0.500 1.011"))
    for decode in (True, False):
        with pytest.raises(
            UserError, match=r"d/segments: s2-r1-b: .*s2-r1.flac: ends at 1.011 s, the recording at 1.0000"
        ):
            check_corpus([read_data_dir(folder)], RATE, decode=decode)
    (folder / "segments").write_text(text.replace("s2-r1 0.500 1.000", "s2-r1 1.000 1.005"))
    with pytest.raises(UserError, match="s2-r1-b: .*holds 0 samples, fewer than one frame"):
        check_corpus([read_data_dir(folder)], RATE)


def test_headers_only(corpus: Corpus, tmp_path: Path) -> None:
    data = read_data_dir(corpus(tmp_path / "d"))
    path = tmp_path / "audio" / "s1-r2.flac"
    path.write_bytes(path.read_bytes()[:9000])
    assert check_corpus([data], RATE, decode=False)[0]["s1-r2"].sha256 is None
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        check_corpus([data], RATE, decode=False)


def test_pipes(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d")
    lines = (line.split() for line in open(folder / "wav.scp"))
    (folder / "wav.scp").write_text("".join(f"{key} cat {path} |\n" for key, path in lines))
    data = read_data_dir(folder)
    with pytest.raises(UserError, match="--allow-pipes true"):
        check_corpus([data], RATE)
    found = check_corpus([data], RATE, allow_pipes=True)[0]["s1-r1"]
    assert found.sha256 == hashlib.sha256((tmp_path / "audio" / "s1-r1.flac").read_bytes()).hexdigest()


def test_speech_is_not_silence() -> None:
    quiet = np.zeros(1000, np.float32)
    quiet[::2] = 2 / 32768
    assert check_samples(quiet) is None
    loud = np.where(np.arange(1000) % 10 < 4, 1.0, 0.1).astype(np.float32)
    assert check_samples(loud) is None  # 40 % at full scale: bad, but speech may still be in it
