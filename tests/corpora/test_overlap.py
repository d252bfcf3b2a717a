from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.overlap import check_overlap, check_shared_ids
from imlkd.errors import UserError

Corpus = Callable[..., Path]


def test_corpora_apart(corpus: Corpus, tmp_path: Path) -> None:
    train = read_data_dir(corpus(tmp_path / "a" / "train"))
    test = read_data_dir(corpus(tmp_path / "b" / "test", ("t1", "t2")))
    check_overlap([train], [test])


def test_speakers_in_both(corpus: Corpus, tmp_path: Path) -> None:
    train = read_data_dir(corpus(tmp_path / "a" / "train", ("s1", "s2", "s3")))
    test = read_data_dir(corpus(tmp_path / "b" / "test", ("s2", "s3", "t4")))
    with pytest.raises(UserError, match=r"a/train and .*b/test share 2 speakers, first: s2, s3: keep each in one"):
        check_overlap([train], [test])


def test_recordings_in_both_under_other_speakers(corpus: Corpus, tmp_path: Path) -> None:
    train = corpus(tmp_path / "a" / "train", ("s1", "s2"))
    test = tmp_path / "a" / "test"
    shutil.copytree(train, test)
    (test / "utt2spk").write_text("s1-r1 x1\ns1-r2 x1\ns2-r1 x2\ns2-r2 x2\n")
    (test / "spk2utt").write_text("x1 s1-r1 s1-r2\nx2 s2-r1 s2-r2\n")
    (test / "spk2gender").write_text("x1 m\nx2 m\n")
    with pytest.raises(UserError, match="share 4 recordings, first: s1-r1"):
        check_overlap([read_data_dir(train)], [read_data_dir(test)])


def test_test_sets_may_share_audio_but_not_ids_alone(corpus: Corpus, tmp_path: Path) -> None:
    one = corpus(tmp_path / "a" / "test")
    shutil.copytree(one, tmp_path / "a" / "again")
    copied = corpus(tmp_path / "b" / "test")  # the same content elsewhere
    sets = [read_data_dir(path) for path in (one, tmp_path / "a" / "again", copied)]
    check_shared_ids(sets)
    soundfile.write(tmp_path / "b" / "audio" / "s2-r1.flac", np.full(16000, 0.1), 16000)
    with pytest.raises(UserError, match="a/test and .*b/test share 1 recording ids for different audio, first: s2-r1"):
        check_shared_ids(sets)


def test_one_utterance_id_for_two_segments(corpus: Corpus, tmp_path: Path) -> None:
    one = corpus(tmp_path / "a" / "test", segments=True)
    other = tmp_path / "a" / "other"
    shutil.copytree(one, other)
    text = (other / "segments").read_text()
    (other / "segments").write_text(text.replace("0.500 1.000", "0.50 1.0"))
    check_shared_ids([read_data_dir(one), read_data_dir(other)])
    (other / "segments").write_text(text.replace("s1-r2 0.500", "s1-r2 0.400"))
    with pytest.raises(UserError, match="share 1 utterance ids for different audio or speakers, first: s1-r2-b"):
        check_shared_ids([read_data_dir(one), read_data_dir(other)])
