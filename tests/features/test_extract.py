"""Stage 1: features and speech activity as arks."""

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.activity import speech_frames
from imlkd.features.extract import FeaturesConfig, extract_features
from imlkd.features.fbank import LogMel
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table


def test_arks_hold_the_features_and_marks_of_every_utterance(toy_corpus: Path) -> None:
    config = load_config(FeaturesConfig, toy_corpus / "features.yaml")
    reader = SpeechReader(toy_corpus, config.fbank.sample_rate)
    num_frames = read_table(toy_corpus / "utt2num_frames", fields=2)
    feats = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp,s,cs:{toy_corpus}/feats.scp")
    vad = kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{toy_corpus}/vad.scp")
    assert list(num_frames) == reader.names
    for name in reader.names:
        frames = LogMel(config.fbank).with_energy(reader.utterance(name)).numpy()
        np.testing.assert_array_equal(feats[name], frames[:, 1:])
        marks = np.array(vad[name])
        np.testing.assert_array_equal(marks, speech_frames(frames[:, 0], config.activity))
        assert int(num_frames[name]) == len(frames) == len(marks)
        assert 0.2 < marks.mean() < 1.0  # the syllables, not their pauses


def test_an_utterance_that_cannot_be_read_leaves_nothing(toy_corpus: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("utt2spk", "spk2utt", "wav.scp"):
        (data / name).write_text((toy_corpus / name).read_text().replace("s3-u3.wav", "gone.wav"))
    with pytest.raises(UserError, match="s3-u3: .*gone.wav: no such file"):
        extract_features(data, FeaturesConfig(), tmp_path / "out", 1, tmp_path / "progress")
    assert list((tmp_path / "out").iterdir()) == []


def test_jobs_give_the_same_as_one(toy_corpus: Path, tmp_path: Path) -> None:
    config = load_config(FeaturesConfig, toy_corpus / "features.yaml")
    half = tmp_path / "half"
    half.mkdir()
    for name in ("utt2spk", "wav.scp"):
        lines = (toy_corpus / name).read_text().splitlines(keepends=True)
        (half / name).write_text("".join(lines[4:8]))
    (half / "spk2utt").write_text((toy_corpus / "spk2utt").read_text().splitlines(keepends=True)[1])
    torch.set_num_threads(1)
    assert extract_features(half, config, tmp_path / "out", 2, tmp_path / "progress") == 4
    table = read_table(tmp_path / "out/feats.2.scp", fields=2)
    whole = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{toy_corpus}/feats.scp")
    with kaldi_native_io.SequentialFloatMatrixReader(f"scp:{tmp_path}/out/feats.2.scp") as found:
        assert [key for key, value in found if (np.array(value) == np.array(whole[key])).all()] == list(table)
