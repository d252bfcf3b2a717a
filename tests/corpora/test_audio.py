from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora.audio import AudioReader, Source, probe, read_source, read_utterance, resolve_sources
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError

Corpus = Callable[..., Path]
RATE = 16000


def make_relative(folder: Path, base: Path) -> None:
    text = (folder / "wav.scp").read_text()
    (folder / "wav.scp").write_text(text.replace(f"{base}/", ""))


def file_source(path: Path) -> Source:
    return Source("r", str(path), False, "wav.scp: r")


def oracle(path: Path) -> np.ndarray:
    """Samples by the standard library's reader."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def test_samples_equal_the_file(corpus: Corpus, tmp_path: Path) -> None:
    data = read_data_dir(corpus(tmp_path / "d", kind="wav"))
    samples = read_utterance(data, "s1-r2", RATE)
    assert samples.dtype == np.float32 and samples.shape == (RATE,)
    np.testing.assert_array_equal(samples, oracle(tmp_path / "audio" / "s1-r2.wav"))


def test_segments_and_parts(corpus: Corpus, tmp_path: Path) -> None:
    reader = AudioReader(read_data_dir(corpus(tmp_path / "d", kind="wav", segments=True)), RATE)
    whole = oracle(tmp_path / "audio" / "s2-r1.wav")
    np.testing.assert_array_equal(reader.read("s2-r1-b"), whole[8000:])
    np.testing.assert_array_equal(reader.read("s2-r1-b", first=100, count=50), whole[8100:8150])
    assert len(reader.read("s2-r1-b", first=7990, count=50)) == 10
    assert reader.num_samples("s2-r1-a") == 8000
    with pytest.raises(UserError, match="no utterance s9"):
        reader.read("s9")


def test_flac_equals_wav(corpus: Corpus, tmp_path: Path) -> None:
    flac = read_data_dir(corpus(tmp_path / "one" / "d", segments=True))
    wav = read_data_dir(corpus(tmp_path / "two" / "d", kind="wav", segments=True))
    for utterance in flac.utterances:
        np.testing.assert_array_equal(read_utterance(flac, utterance, RATE), read_utterance(wav, utterance, RATE))


def test_rules_for_relative_paths(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus(tmp_path / "c" / "d")
    assert resolve_sources(read_data_dir(folder)).rule == "absolute"
    make_relative(folder, tmp_path / "c")
    expected = str(tmp_path / "c" / "audio" / "s1-r1.flac")
    beside = resolve_sources(read_data_dir(folder))
    assert beside.rule == f"relative to {tmp_path / 'c'} (the data directory's parent)"
    assert beside.by_recording["s1-r1"].value == expected

    monkeypatch.chdir(tmp_path / "c")
    here = resolve_sources(read_data_dir(Path("d")))
    assert here.rule == f"relative to the working directory {tmp_path / 'c'}"
    assert here.by_recording["s1-r1"].value == expected


def test_the_working_directory_comes_first(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus(tmp_path / "c" / "d")
    make_relative(folder, tmp_path / "c")
    corpus(tmp_path / "other" / "d")
    monkeypatch.chdir(tmp_path / "other")
    assert str(tmp_path / "other") in resolve_sources(read_data_dir(folder)).by_recording["s1-r1"].value
    (tmp_path / "other" / "audio" / "s1-r1.flac").unlink()
    assert "parent" in resolve_sources(read_data_dir(folder)).rule


def test_relative_paths_that_lead_nowhere(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c" / "d")
    (folder / "wav.scp").write_text((folder / "wav.scp").read_text().replace(f"{tmp_path}/c/audio", "gone"))
    with pytest.raises(UserError, match=r"d/wav.scp: s1-r1: no such file gone/s1-r1.flac: looked in .*: start from"):
        resolve_sources(read_data_dir(folder))


def as_pipes(folder: Path) -> None:
    lines = (line.split(None, 1) for line in open(folder / "wav.scp"))
    (folder / "wav.scp").write_text("".join(f"{key} cat '{path.strip()}' |\n" for key, path in lines))


def test_pipes_are_refused_unless_allowed(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", kind="wav", segments=True)
    expected = read_utterance(read_data_dir(folder), "s1-r2-b", RATE)
    as_pipes(folder)
    data = read_data_dir(folder)
    with pytest.raises(UserError, match=r"d/wav.scp: s1-r1: a pipe.*`--allow-pipes true`"):
        read_utterance(data, "s1-r2-b", RATE)
    assert resolve_sources(data, allow_pipes=True).rule == "none: all are pipes"
    np.testing.assert_array_equal(read_utterance(data, "s1-r2-b", RATE, allow_pipes=True), expected)


def test_a_pipe_runs_once_for_its_utterances(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    wav = (
        (folder / "wav.scp")
        .read_text()
        .replace(f"s1-r1 {tmp_path}", f"s1-r1 echo x >> {tmp_path}/runs; cat {tmp_path}")
    )
    (folder / "wav.scp").write_text(wav.replace("s1-r1.flac", "s1-r1.flac |"))
    reader = AudioReader(read_data_dir(folder), RATE, allow_pipes=True)
    assert len(reader.read("s1-r1-a")) == len(reader.read("s1-r1-b")) == 8000
    assert (tmp_path / "runs").read_text() == "x\n"


@pytest.mark.parametrize(("command", "said"), [("echo oops >&2; exit 3", "exit status 3; oops"), ("true", "no output")])
def test_a_pipe_that_fails(command: str, said: str) -> None:
    with pytest.raises(UserError, match=f"wav.scp: r: .*the command failed \\({said}\\): run it by hand"):
        probe(Source("r", command, True, "wav.scp: r"))


def test_streamed_wav_header(tmp_path: Path) -> None:
    """sox and flac write the largest size when they write to a pipe."""
    soundfile.write(tmp_path / "a.wav", np.full(1000, 0.1), RATE, subtype="PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    assert probe(file_source(tmp_path / "a.wav")).samples == 1000
    assert len(read_source(Source("r", f"cat {tmp_path}/a.wav", True, "x"), RATE)) == 1000


def test_probe(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((441, 2)), 44100)
    info = probe(file_source(tmp_path / "a.wav"))
    assert (info.samples, info.sample_rate, info.channels) == (441, 44100, 2)


def test_flac_without_a_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.full(1000, 0.1), RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the lower 36 bits of bytes 21 to 25 count the samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(UserError, match="states no length"):
        probe(file_source(path))


def test_reading_behind_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1000, 0.1), RATE)
    with pytest.raises(UserError, match="has 1000 samples, samples 990 to 1010 were asked for"):
        read_source(file_source(tmp_path / "a.wav"), RATE, 990, 20)


def test_audio_in_an_ark(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="inside an ark"):
        probe(file_source(tmp_path / "wav.ark:17"))
