"""Small corpora of generated audio."""

from __future__ import annotations

from collections.abc import Callable
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
    """A data directory ``folder`` with audio in ``folder/../audio``: two recordings a speaker, with or without segments."""
    audio = folder.parent / "audio"
    folder.mkdir(parents=True)
    audio.mkdir(exist_ok=True)
    tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "utt2spk", "spk2utt", "spk2gender", "segments")}
    for speaker in speakers:
        utterances = []
        for number in (1, 2):
            recording = f"{speaker}-r{number}"
            path = audio / f"{recording}.{kind}"
            soundfile.write(path, noise(RATE, seed=sum(recording.encode())), RATE)
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
