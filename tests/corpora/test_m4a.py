"""imlkd/corpora/m4a.py and convert.py on real m4a files, made here by PyAV or ffmpeg."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora import convert as convert_module
from imlkd.corpora.audio import AudioProblem, AudioReader, Source, probe
from imlkd.corpora.convert import JOURNAL, convert_m4a, read_journal
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.m4a import M4aProblem, decode_m4a, find_tool, wav_bytes
from imlkd.errors import UserError

HAS = {"pyav": importlib.util.find_spec("av") is not None,
       "ffmpeg": shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None}  # fmt: skip
TOOLS = [
    pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"no {name} here (`pip install av`)"))
    for name, there in HAS.items()
]
needs_a_tool = pytest.mark.skipif(not any(HAS.values()), reason="neither PyAV nor ffmpeg is here: `pip install av`")
NAMES = ["dev/aac/id00012/21Uxsk56VDQ/00001", "dev/aac/id00012/21Uxsk56VDQ/00002", "test/aac/id00017/01dfn2spqyE/00001"]
RATE = 16000


def voice(seconds: float, pitch: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 9))
    return (4000 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))).astype(np.int16)


def encode(path: Path, samples: np.ndarray, tool: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if (tool or ("pyav" if HAS["pyav"] else "ffmpeg")) == "ffmpeg":
        command = ["ffmpeg", "-v", "error", "-f", "wav", "-i", "-", "-c:a", "aac", "-b:a", "64k", str(path)]
        subprocess.run(command, input=wav_bytes(samples, RATE), check=True)
        return
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 64000
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vox2")
    for index, name in enumerate(NAMES):
        encode(root / f"{name}.m4a", voice(1.0 + 0.3 * index, 110 + 40 * index))
    return root


@pytest.fixture
def vox2(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "vox 2/ü"))


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in root.rglob("*.m4a")
    }


@needs_a_tool
@pytest.mark.parametrize("tool", TOOLS)
def test_what_was_encoded_comes_back(tool: str, made: Path) -> None:
    """AAC is lossy: the same signal at the same place, told by its correlation; the encoder's delay is gone."""
    for index, name in enumerate(NAMES):
        expected = voice(1.0 + 0.3 * index, 110 + 40 * index)
        samples, rate = decode_m4a(made / f"{name}.m4a", tool=tool)
        assert rate == RATE and samples.dtype == np.int16 and len(samples) == len(expected)
        least = min(len(samples), len(expected))
        part = expected[: least - 2000]
        scores = [np.corrcoef(samples[lag : lag + len(part)], part)[0, 1] for lag in (0, 40, 1024)]
        assert scores[0] > 0.98 and scores[0] == max(scores)


@pytest.mark.skipif(not all(HAS.values()), reason="needs PyAV and ffmpeg")
def test_both_tools_give_the_same_samples(made: Path) -> None:
    for name in NAMES:
        one, other = (decode_m4a(made / f"{name}.m4a", tool=tool)[0].astype(int) for tool in HAS)
        assert len(one) == len(other) and np.abs(one - other).max() <= 2


@needs_a_tool
@pytest.mark.parametrize("tool", TOOLS)
def test_bad_files(tool: str, vox2: Path) -> None:
    path = vox2 / f"{NAMES[0]}.m4a"
    content = path.read_bytes()
    half, text = content[: len(content) // 2], b"no audio" * 99
    for bad, words in ((half, "m4a|cut|all"), (text, "m4a|all"), (b"", "empty file of 0 bytes")):
        path.write_bytes(bad)
        with pytest.raises(M4aProblem, match=words):
            decode_m4a(path, tool=tool)
    with pytest.raises(M4aProblem, match="no such file"):
        decode_m4a(vox2 / "gone.m4a", tool=tool)


@pytest.mark.parametrize(
    ("tool", "words"),
    [("sox", "--tool sox: known are auto, pyav, ffmpeg"), ("auto", "neither PyAV nor ffmpeg is there"),
     ("ffmpeg", "ffmpeg is not there"), ("pyav", "pip install av")],
)  # fmt: skip
def test_no_tool(tool: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=words):
        find_tool(tool)


@needs_a_tool
def test_conversion_goes_on_and_never_touches_the_source(vox2: Path, tmp_path: Path) -> None:
    before, out = fingerprint(vox2), tmp_path / "flac"
    first = convert_m4a([vox2], out, nj=2)
    assert (first.made, first.kept, first.bad) == (3, 0, [])
    names = [f"{name.replace('/aac', '')}.flac" for name in NAMES]
    journal = read_journal(out)
    assert list(journal) == names
    for name, source in zip(names, NAMES, strict=True):
        samples, rate = soundfile.read(out / name, dtype="int16")
        assert rate == RATE and np.array_equal(samples, decode_m4a(vox2 / f"{source}.m4a")[0])
        assert journal[name].flac_sha256 == hashlib.sha256((out / name).read_bytes()).hexdigest()
        assert journal[name].source_sha256 == before[str(vox2 / f"{source}.m4a")][0]
        assert journal[name].samples == len(samples)

    dates = {name: (out / name).stat().st_mtime_ns for name in names}
    (out / names[1]).unlink()
    os.utime(vox2 / f"{NAMES[2]}.m4a", ns=(1, 1))  # as if it had been copied anew
    with open(out / JOURNAL, "a") as stream:
        stream.write("dev/half a li")  # of a killed run
    said: list[str] = []
    again = convert_m4a([vox2], out, say=said.append)
    assert (again.made, again.kept) == (2, 1)
    assert (out / names[0]).stat().st_mtime_ns == dates[names[0]]
    assert any(line.endswith("changed since it was converted: again") for line in said)
    assert list(read_journal(out)) == names

    (out / names[0]).write_bytes(b"damaged")
    assert convert_m4a([vox2], out).made == 0 and convert_m4a([vox2], out, verify=True, say=said.append).made == 1
    os.utime(vox2 / f"{NAMES[2]}.m4a", ns=(before[str(vox2 / f"{NAMES[2]}.m4a")][1],) * 2)
    assert fingerprint(vox2) == before


@needs_a_tool
def test_a_half_copied_file_among_others(vox2: Path, tmp_path: Path) -> None:
    bad = vox2 / f"{NAMES[1]}.m4a"
    bad.write_bytes(bad.read_bytes()[:900])
    with pytest.raises(UserError, match=r"1 of 3 m4a files are bad \(all in .*bad.txt\): .*00002.m4a: .*--max-bad"):
        convert_m4a([vox2], tmp_path / "flac")
    assert len(read_journal(tmp_path / "flac")) == 2
    assert convert_m4a([vox2], tmp_path / "flac", max_bad=0.4).kept == 2
    assert (tmp_path / "flac/bad.txt").read_text().startswith(str(bad))


@needs_a_tool
def test_interrupted_and_out_of_space(
    vox2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
) -> None:  # fmt: skip
    out, real, calls = tmp_path / "flac", convert_module._convert, []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(convert_module, "_convert", interrupted)
        with pytest.raises(RuntimeError):
            convert_m4a([vox2], out)
    assert len(read_journal(out)) == 2
    assert (lambda done: (done.made, done.kept))(convert_m4a([vox2], out)) == (1, 2)
    with file_size_limit(4000), pytest.raises(UserError, match="file-size limit is reached"):
        convert_m4a([vox2], tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.flac")) and not list((tmp_path / "other").rglob("*.tmp*"))
    assert convert_m4a([vox2], tmp_path / "other").made == 3


@needs_a_tool
def test_a_file_system_that_is_blind_to_case(vox2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imlkd.corpora import audio_tree

    monkeypatch.setattr(audio_tree, "is_case_blind", lambda folder: True)
    assert convert_m4a([vox2], tmp_path / "flac").made == 3
    shutil.copytree(vox2 / "dev/aac/id00012/21Uxsk56VDQ", vox2 / "dev/aac/id00012/21uXSK56vdq")
    with pytest.raises(UserError, match="its file system takes .* for the same: choose a folder on one that tells"):
        convert_m4a([vox2], tmp_path / "flac")


@needs_a_tool
def test_two_conversions_at_once(vox2: Path, tmp_path: Path) -> None:
    results: list[int] = []
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(convert_m4a([vox2], tmp_path / "flac", say=said.append).made))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 3] and any("waiting for that one" in line for line in said)


@needs_a_tool
def test_decoded_on_the_fly(vox2: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    path = vox2 / f"{NAMES[0]}.m4a"
    (data / "wav.scp").write_text(f"id00012-a-1 {path}\n")
    (data / "utt2spk").write_text("id00012-a-1 id00012\n")
    reader = AudioReader(read_data_dir(data), RATE)
    expected = decode_m4a(path)[0] / np.float32(32768)
    assert reader.num_samples("id00012-a-1") == len(expected)
    assert np.array_equal(reader.read("id00012-a-1", 4000, 800), expected[4000:4800])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(AudioProblem, match="copy the file again or remove it"):
        reader.read("id00012-a-1")


@needs_a_tool
def test_m4a_by_another_name(vox2: Path) -> None:
    path = (vox2 / f"{NAMES[0]}.m4a").rename(vox2 / "00001.wav")
    with pytest.raises(AudioProblem, match="00001.wav: m4a by its content, not by its name: call it .m4a"):
        probe(Source("a", str(path), False, "wav.scp"))


def test_nothing_to_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_module, "find_tool", lambda tool: "pyav")
    with pytest.raises(UserError, match="no .m4a below: there is nothing to convert"):
        convert_m4a([tmp_path], tmp_path / "out")
