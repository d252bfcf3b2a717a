"""Waveforms of utterances and of segments."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.segments import Segment
from imlkd.features.speech import PartReader, SpeechReader
from imlkd.kaldi_io import read_table, write_table


def test_utterances_are_what_soundfile_reads(toy_corpus: Path) -> None:
    reader = SpeechReader(toy_corpus, 16000)
    assert reader.names == list(read_table(toy_corpus / "utt2spk"))
    for name, path in read_table(toy_corpus / "wav.scp").items():
        expected, _ = soundfile.read(path, dtype="float32")
        for _ in range(2):  # the second time from memory
            np.testing.assert_array_equal(reader.utterance(name).numpy(), expected)


def test_segments_of_segments(toy_corpus: Path, tmp_path: Path) -> None:
    """A data directory with `segments`: times count from the utterance's start, not the recording's."""
    path = read_table(toy_corpus / "wav.scp")["s1-u3"]
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "wav.scp", {"rec": path})
    write_table(data / "segments", {"s1-x": "rec 0.500 1.750"})
    write_table(data / "utt2spk", {"s1-x": "s1"})
    write_table(data / "spk2utt", {"s1": "s1-x"})
    whole, _ = soundfile.read(path, dtype="float32")
    reader = SpeechReader(data, 16000)
    np.testing.assert_array_equal(reader.utterance("s1-x").numpy(), whole[8000:28000])
    for one in (reader, PartReader(data, 16000)):
        np.testing.assert_array_equal(one.segment(Segment("s1-x", 25, 100)).numpy(), whole[12000:28000])


@pytest.mark.parametrize("samples", [16000, 16079, 15921])
def test_a_segment_is_whole_frames(toy_corpus: Path, tmp_path: Path, samples: int) -> None:
    """100 frames, whichever way the length was rounded: at most half a frame of zeros behind the end."""
    data = tmp_path / "data"
    data.mkdir()
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    for name, value in (("wav.scp", str(tmp_path / "a.wav")), ("utt2spk", "s1"), ("spk2utt", "s1-a")):
        write_table(data / name, {"s1" if name == "spk2utt" else "s1-a": value})
    segment = SpeechReader(data, 16000).segment(Segment("s1-a", 20, 80))
    assert torch.equal(PartReader(data, 16000).segment(Segment("s1-a", 20, 80)), segment)
    assert segment.shape == (12800,) and segment.dtype == torch.float32
    rest = wave[3200:16000]
    np.testing.assert_array_equal(segment[: len(rest)].numpy(), rest)
    assert not segment[len(rest) :].any() and len(segment) - len(rest) <= 80
    assert len(LogMel(FbankConfig())(segment)) == 80


def test_another_rate_is_refused(toy_corpus: Path) -> None:
    with pytest.raises(UserError, match="sampled at 16000 Hz, configured are 8000 Hz"):
        SpeechReader(toy_corpus, 8000).utterance("s0-u0")
