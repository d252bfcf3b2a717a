from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora.fingerprint import DIGESTS, data_hash
from imlkd.errors import UserError

Corpus = Callable[..., Path]


def test_place_and_derived_tables_do_not_count(corpus: Corpus, tmp_path: Path) -> None:
    one, other = corpus(tmp_path / "a" / "d", segments=True), corpus(tmp_path / "b" / "e", segments=True)
    expected = data_hash(one)
    (other / "spk2utt").unlink()
    (other / "utt2dur").write_text("".join(f"{line.split()[0]} 0.5\n" for line in open(other / "utt2spk")))
    (other / "vad.scp").write_text("x")
    wav = (other / "wav.scp").read_text()
    (other / "wav.scp").write_text(wav.replace(str(tmp_path / "b") + "/", ""))
    assert data_hash(other) == expected
    (other / "wav.scp").write_text("".join(f"{k} cat {v} |\n" for k, v in (line.split() for line in wav.splitlines())))
    with pytest.raises(UserError, match="pipe"):
        data_hash(other)
    assert data_hash(other, allow_pipes=True) == expected


@pytest.mark.parametrize("change", ["audio", "utt2spk", "segments", "spk2gender", "utt2lang"])
def test_content_counts(change: str, corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    before = data_hash(folder)
    if change == "audio":
        soundfile.write(tmp_path / "audio" / "s1-r1.flac", np.full(16000, 0.1), 16000)
    elif change == "utt2spk":
        (folder / "utt2spk").write_text((folder / "utt2spk").read_text().replace(" s2", " s3"))
        (folder / "spk2utt").unlink()
        (folder / "spk2gender").write_text("s1 f\ns3 m\n")
    elif change == "segments":
        (folder / "segments").write_text((folder / "segments").read_text().replace(" 0 ", " 0.01 "))
    elif change == "spk2gender":
        (folder / "spk2gender").write_text("s1 f\ns2 f\n")
    else:
        (folder / "utt2lang").write_text("".join(f"{line.split()[0]} ar\n" for line in open(folder / "utt2spk")))
    assert data_hash(folder) != before


def test_digests_of_stage_0_replace_reading_the_audio(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d")
    (folder / DIGESTS).write_text("s1-r1 0\ns1-r2 1\ns2-r1 2\ns2-r2 3\n")
    shutil.rmtree(tmp_path / "audio")
    before = data_hash(folder)
    (folder / DIGESTS).write_text("s1-r1 0\ns1-r2 1\ns2-r1 2\ns2-r2 4\n")
    assert data_hash(folder) != before
    (folder / DIGESTS).write_text("s1-r1 0\n")
    with pytest.raises(UserError, match="reco2sha256: its recordings"):
        data_hash(folder)
    (folder / DIGESTS).unlink()
    with pytest.raises(UserError, match=r"wav.scp: s1-r1: .*no such file"):
        data_hash(folder)
