"""Small corpora of generated audio, and the ways to spoil one file of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """16-bit samples: no writer has to round them."""
    return (3000 * np.random.default_rng(seed).standard_normal(samples)).clip(-30000, 30000).astype(np.int16)


def make_corpus(
    folder: Path, speakers: tuple[str, ...] = ("s1", "s2"), kind: str = "flac", segments: bool = False
) -> Path:
    """Data directory with audio in ``folder/../audio``: two recordings of 1 s a speaker, or two segments in each."""
    audio = folder.parent / "audio"
    folder.mkdir(parents=True)
    audio.mkdir(exist_ok=True)
    tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "utt2spk", "spk2utt", "spk2gender", "segments")}
    for speaker in speakers:
        utterances = []
        for number in (1, 2):
            recording = f"{speaker}-r{number}"
            path = audio / f"{recording}.{kind}"
            soundfile.write(path, noise(RATE, seed=zlib.crc32(recording.encode())), RATE)
            tables["wav.scp"].append(f"{recording} {path}")
            parts = [f"{recording}-a", f"{recording}-b"] if segments else [recording]
            utterances += parts
            for part, (start, end) in zip(parts, ((0, "0.500"), ("0.500", "1.000")), strict=False):
                tables["segments"].append(f"{part} {recording} {start} {end}")
        tables["utt2spk"] += [f"{utterance} {speaker}" for utterance in utterances]
        tables["spk2utt"].append(" ".join([speaker, *utterances]))
        tables["spk2gender"].append(f"{speaker} {'mf'[int(speaker[-1]) % 2]}")
    if not segments:
        del tables["segments"]
    for name, lines in tables.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def corpus() -> Callable[..., Path]:
    return make_corpus


@dataclass(frozen=True)
class Spoilt:
    """How to spoil a FLAC file of 1 s, and what the message has to say then."""

    spoil: Callable[[Path], object]
    fragments: tuple[str, ...]


def _cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def _blank(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path.write_bytes(content)


def _wav(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
    with open(path, "wb") as stream:
        soundfile.write(stream, samples, rate, format="WAV", subtype=subtype)


def _cut_wav(path: Path) -> None:
    _wav(path, noise(RATE))
    _cut(path, 0.6)


def _with(value: float) -> np.ndarray:
    samples = noise(RATE).astype(np.float32) / 32768
    samples[777] = value
    return samples


def _square() -> np.ndarray:
    return np.where(np.arange(RATE) % 20 < 10, 32767, -32768).astype(np.int16)


AGAIN = "make the file again or remove it"
BAD_AUDIO = {
    "gone": Spoilt(lambda path: path.unlink(), ("no such file", "put the file back")),
    "truncated FLAC": Spoilt(lambda path: _cut(path, 0.6), ("cut off or damaged", "16000 samples", "copy the file")),
    "FLAC without its last bytes": Spoilt(lambda path: _cut(path, 0.999), ("cut off or damaged", "copy the file")),
    "truncated in the header": Spoilt(lambda path: _cut(path, 0.002), ("not readable as audio", AGAIN)),
    "damaged FLAC": Spoilt(_blank, ("cut off or damaged", "copy the file")),
    "truncated WAV": Spoilt(_cut_wav, ("cut off", "32000 bytes", "copy the file")),
    "no bytes": Spoilt(lambda path: path.write_bytes(b""), ("empty file of 0 bytes", AGAIN)),
    "zero-length": Spoilt(lambda path: _wav(path, noise(0)), ("zero-length audio", AGAIN)),
    "one millisecond": Spoilt(
        lambda path: _wav(path, noise(16)), ("holds 16 samples", "25 ms", "remove the utterance")
    ),
    "NaN": Spoilt(lambda path: _wav(path, _with(np.nan), subtype="FLOAT"), ("NaN", AGAIN)),
    "infinite": Spoilt(lambda path: _wav(path, _with(-np.inf), subtype="FLOAT"), ("infinite", AGAIN)),
    "16-bit scale": Spoilt(
        lambda path: _wav(path, noise(RATE).astype(np.float32), subtype="FLOAT"), ("expected -1 to 1", "32768")
    ),
    "digital silence": Spoilt(lambda path: _wav(path, np.zeros(RATE, np.int16)), ("silent", "of 0", "remove")),
    "stuck at full scale": Spoilt(lambda path: _wav(path, np.full(RATE, -32768, np.int16)), ("silent", "-1", "remove")),
    "clipped": Spoilt(lambda path: _wav(path, _square()), ("clipped: 100 %", "remove the utterance")),
    "stereo": Spoilt(lambda path: _wav(path, noise(2 * RATE).reshape(-1, 2)), ("2 channels, expected 1", "remix 1")),
    "another rate": Spoilt(
        lambda path: _wav(path, noise(8000), 8000),
        ("8000 Hz, configured are 16000 Hz", "-r 16000", "--sample-rate 8000"),
    ),
    "no audio": Spoilt(lambda path: path.write_text("I am a text.\n" * 9), ("not readable as audio", AGAIN)),
}


@pytest.fixture(params=BAD_AUDIO)
def spoilt(request: pytest.FixtureRequest) -> Spoilt:
    return BAD_AUDIO[request.param]
