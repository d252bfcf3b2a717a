"""Speech detectors: one switch, marks on the frames of the front-end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imlkd.config import load_config
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError
from imlkd.features.activity import speech_frames
from imlkd.features.detectors import Silero, SileroConfig, build_detector, marks_of
from imlkd.features.extract import FeaturesConfig, extract_features
from imlkd.features.fbank import LogMel
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import ArkWriter, read_array, read_scp_arrays, read_table

SVMINI = os.environ.get("SVMINI", "")
needs_silero = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("silero_vad") is None, reason="needs the package silero-vad"
)


def extracted(corpus: Path, out: Path, *overrides: str) -> dict[str, Any]:
    config = load_config(FeaturesConfig, corpus / "features.yaml", overrides)
    extract_features(corpus, config, out, 1, out / "progress")
    return read_scp_arrays(out / "vad.1.scp")


def test_energy_is_the_default_and_kaldis_rule(toy_corpus: Path, tmp_path: Path) -> None:
    config = load_config(FeaturesConfig, toy_corpus / "features.yaml")
    assert config.detector == "energy"
    marks = extracted(toy_corpus, tmp_path / "out")
    reader = SpeechReader(toy_corpus, 16000)
    for name in reader.names:
        energy = LogMel(config.fbank).with_energy(reader.utterance(name))[:, 0].numpy()
        np.testing.assert_array_equal(marks[name], speech_frames(energy, config.activity))


def test_given_marks_are_taken(toy_corpus: Path, tmp_path: Path) -> None:
    """Kaldi's default front-end drops up to two frames at the edges; they take the mark beside them."""
    frames = {name: int(count) for name, count in read_table(toy_corpus / "utt2num_frames").items()}
    random = np.random.default_rng(3)
    mine = {name: (random.random(count - off) > 0.5).astype("f4") for off, (name, count) in enumerate(frames.items())
            if off < 4} | {name: np.full(count + 2, 2.0, "f4") for name, count in list(frames.items())[4:]}  # fmt: skip
    for half, names in enumerate((list(mine)[:5], list(mine)[5:])):
        with ArkWriter(tmp_path / f"{half}.ark", tmp_path / f"{half}.scp") as writer:
            for name in names:
                writer.write(name, mine[name])
    scps = f"vad_scp={tmp_path}/0.scp,{tmp_path}/1.scp"
    marks = extracted(toy_corpus, tmp_path / "out", "detector=given", scps)
    for name, count in frames.items():
        expected = np.concatenate([mine[name], np.repeat(mine[name][-1:], 4)])[:count] != 0
        np.testing.assert_array_equal(marks[name], expected.astype("f4"))
    with pytest.raises(UserError, match="0.scp: no marks of s1-u1: add them"):
        extracted(toy_corpus, tmp_path / "out2", "detector=given", f"vad_scp={tmp_path}/0.scp")
    with ArkWriter(tmp_path / "short.ark", tmp_path / "short.scp") as writer:
        writer.write("s0-u0", np.ones(frames["s0-u0"] - 4, "f4"))
    with pytest.raises(UserError, match=r"short.scp: s0-u0 has \(126,\) marks, its audio 130 frames"):
        extracted(toy_corpus, tmp_path / "out3", "detector=given", f"vad_scp={tmp_path}/short.scp")
    with pytest.raises(UserError, match="given: needs vad_scp"):
        extracted(toy_corpus, tmp_path / "out4", "detector=given")


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 700)), max_size=4), st.sampled_from([8000, 16000]))
def test_a_frame_is_speech_when_its_middle_is(drawn: list[tuple[int, int]], rate: int) -> None:
    stretches = [(first, first + count) for first, count in drawn]
    hop = rate // 100
    expected = [float(any(a <= t * hop + hop // 2 < b for a, b in stretches)) for t in range(9)]
    assert marks_of(stretches, 9, rate).tolist() == expected


@needs_silero
def test_silero_hears_its_own_package(tmp_path: Path) -> None:
    """Marks against the package called by hand, its TorchScript network instead of the ONNX one."""
    if not SVMINI:
        pytest.skip("needs SVMINI")
    import silero_vad

    reader = SpeechReader(Path(SVMINI) / "test", 16000)
    network = silero_vad.load_silero_vad(onnx=False)
    detect = build_detector("silero", FeaturesConfig().activity, SileroConfig(), "", 16000)
    shares = []
    for name in reader.names[::60]:
        wave = torch.cat([torch.zeros(16000), reader.utterance(name), torch.zeros(16000)])
        marks = detect(name, wave, np.zeros(round(len(wave) / 160), np.float32))
        own = silero_vad.get_speech_timestamps(wave, network)
        expected = marks_of([(one["start"], one["end"]) for one in own], len(marks), 16000)
        assert (marks != expected).sum() <= 2  # the two networks round differently
        assert marks[:90].sum() == 0 == marks[-60:].sum()
        shares.append(marks[100:-100].mean())
    assert len(shares) > 3 and np.mean(shares) > 0.7


@needs_silero
def test_silero_through_stage_1(toy_corpus: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    marks = extracted(toy_corpus, tmp_path / "out", "detector=silero", "silero.threshold=0.3")
    assert torch.get_num_threads() == threads
    frames = read_table(toy_corpus / "utt2num_frames")
    assert {name: str(len(one)) for name, one in marks.items()} == dict(frames)
    assert set(np.concatenate(list(marks.values())).tolist()) <= {0.0, 1.0}


def test_what_silero_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="hears 8000 or 16000 Hz, not 44100"):
        Silero(SileroConfig(), 44100)
    monkeypatch.setitem(__import__("sys").modules, "silero_vad", None)
    with pytest.raises(UserError, match="its package is missing: `pip install --no-deps silero-vad"):
        Silero(SileroConfig(), 16000)


def test_marks_of_stage_1_can_be_given_back(toy_corpus: Path, tmp_path: Path) -> None:
    marks = extracted(toy_corpus, tmp_path / "out", "detector=given", f"vad_scp={toy_corpus}/vad.scp")
    for name, place in read_table(toy_corpus / "vad.scp").items():
        np.testing.assert_array_equal(marks[name], read_array(place))
    assert list(marks) == read_data_dir(toy_corpus).utterances
