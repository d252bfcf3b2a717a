"""One voice of the built-in corpus, from its number to its WAV files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.corpora.minivox import audio as audio
from imlkd.corpora.minivox.config import MinivoxConfig
from imlkd.corpora.minivox.draws import Draws
from imlkd.corpora.minivox.espeak import ESPEAK_RATE, Espeak
from imlkd.corpora.minivox.voices import Session, Utterance, Voice, draw_session, draw_utterances, draw_voice
from imlkd.files import make_dir, os_errors, parse_json

Samples = npt.NDArray[np.int16]

SHORTEST, LONGEST, USUAL = 35200, 64000, 44800  # samples: 2.2, 4.0 and 2.8 s
# What a voice is made of besides its sizes; the other fields of the config do not touch it.
_PARTS = ("draws", "audio", "text", "voices", "espeak", "recordings")


@dataclass(frozen=True)
class VoiceTask:
    """One voice to make below ``wav``, spoken with the espeak-ng data in ``espeak_home``."""

    config: MinivoxConfig
    number: int
    wav: Path
    espeak_home: Path


@dataclass(frozen=True)
class Wav:
    """A file that was written."""

    samples: int
    sha256: str


def recipe_digest(config: MinivoxConfig, espeak_version: str) -> str:
    """Hash of all that decides a voice's samples: sizes and hardness, this code, the synthesiser's version."""
    counts = ("teacher_voices", "student_voices", "test_voices", "nontargets")
    made_from = {key: value for key, value in asdict(config).items() if key not in counts}
    digest = hashlib.sha256(json.dumps([made_from, espeak_version], sort_keys=True).encode())
    for part in _PARTS:
        digest.update(Path(__file__).with_name(f"{part}.py").read_bytes())
    return digest.hexdigest()


def make_voice(task: VoiceTask, digest: str) -> dict[str, Wav]:
    """Write ``<wav>/<voice>/<utterance>.wav``, all or none; files already there and right are kept.

    :param digest: `recipe_digest` of the task's config.
    :returns: utterance -> file, in C order.
    """
    voice = draw_voice(task.config, task.number)
    folder = task.wav / voice.name
    ready = _ready(folder, digest)
    if ready is not None:
        return ready
    espeak = Espeak(task.espeak_home)
    espeak.define_voice(voice.name, voice.accent, voice.definition)
    contents = {
        utterance.name: _wav_bytes(make_utterance(task.config, espeak, voice, utterance))
        for utterance in draw_utterances(task.config, voice, task.number)
    }
    return _write_folder(folder, contents, digest)


def make_utterance(config: MinivoxConfig, espeak: Espeak, voice: Voice, utterance: Utterance) -> Samples:
    """16-bit samples at 16 kHz, 2.2 to 4.0 s, as recorded; a function of the config and the utterance alone."""
    session = draw_session(config, voice, utterance.recording)
    draws = Draws(config.seed, utterance.name)
    dry = _speak(espeak, voice, session, utterance.text, draws)
    colour = Draws(config.seed, voice.name, f"r{utterance.recording}", "noise")
    return audio.record(audio.add_breath(dry, voice.breath, draws), session.place, draws, colour)


def _speak(espeak: Espeak, voice: Voice, session: Session, text: str, draws: Draws) -> audio.IntArray:
    """The dry voice with short pauses around; said again slower or faster where it would be too short or long."""
    before, after = draws.integer(500, 2400), draws.integer(500, 2400)
    rate = session.rate
    for _ in range(5):
        spoken = _trimmed(espeak.say(voice.name, text, rate, session.pitch, session.liveliness))
        signal = audio.resample(spoken, ESPEAK_RATE * session.tract // 1000)
        samples = before + len(signal) + after
        if SHORTEST <= samples <= LONGEST:
            return np.pad(signal, (before, after))
        rate = rate * samples // USUAL
    raise RuntimeError(f"{voice.name}: {text!r} does not fit into {SHORTEST} to {LONGEST} samples")


def _trimmed(signal: Samples) -> audio.IntArray:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(signal.astype(np.int32)) > 100)
    return signal[loud[0] : loud[-1] + 1].astype(np.int32)


def _wav_bytes(signal: Samples) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.SAMPLE_RATE)
        file.writeframes(signal.astype("<i2").tobytes())
    return stream.getvalue()


def _write_folder(folder: Path, contents: dict[str, bytes], digest: str) -> dict[str, Wav]:
    temporary = folder.with_name(f".{folder.name}.tmp{os.getpid()}")
    wavs = {}
    try:
        make_dir(temporary)
        with os_errors(folder):
            for name, content in contents.items():
                (temporary / f"{name}.wav").write_bytes(content)
                wavs[name] = Wav((len(content) - 44) // 2, hashlib.sha256(content).hexdigest())
            record = {"made_from": digest, "wavs": {name: asdict(wav) for name, wav in wavs.items()}}
            (temporary / "made.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return wavs


def _ready(folder: Path, digest: str) -> dict[str, Wav] | None:
    """What ``folder`` holds, if it was made from ``digest`` and every file still has the content written then."""
    try:
        record = parse_json((folder / "made.json").read_text("utf-8"))
        wavs = {name: Wav(**fields) for name, fields in record["wavs"].items()}
        if record["made_from"] != digest:
            return None
        for name, wav in wavs.items():
            if hashlib.sha256((folder / f"{name}.wav").read_bytes()).hexdigest() != wav.sha256:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # cut off or damaged: made anew
    return wavs
