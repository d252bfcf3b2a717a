"""Voices and their recordings, drawn from the seed: what espeak-ng is told to sound like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imlkd.corpora.minivox.audio import NOISES, Place, channel, room
from imlkd.corpora.minivox.config import FIRST_TEST_VOICE, MinivoxConfig
from imlkd.corpora.minivox.draws import Draws
from imlkd.corpora.minivox.text import TEST_SENTENCES, TRAIN_SENTENCES

# espeak-ng's own definitions of English accents, each given as often as it is wanted.
ACCENTS = ("en-US", "en-US", "en", "en-GB-x-rp", "en-GB-scotland", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-029")
# gender -> centre and spread of the pitch (Hz) and of the vocal tract (thousandths; more is shorter)
PITCH = {"m": (120, 45), "f": (195, 60)}
TRACT = {"m": (985, 60), "f": (1075, 65)}


@dataclass(frozen=True)
class Voice:
    """One speaker."""

    name: str
    gender: str
    accent: str
    tract: int  # thousandths by which all frequencies are raised
    breath: int  # percent of the envelope
    rate: int  # words per minute
    definition: str  # lines for espeak-ng's voice file


@dataclass(frozen=True)
class Utterance:
    """One sentence of a voice in one recording; ``sentence`` counts the training ones first, from 1."""

    name: str
    speaker: str
    gender: str
    recording: int
    sentence: int
    text: str


@dataclass(frozen=True)
class Session:
    """How a voice speaks in one recording, and where."""

    tract: int
    rate: int
    pitch: int  # espeak-ng's 0-99; 50 leaves the voice's own pitch
    liveliness: int  # espeak-ng's pitch range 0-99; 50 leaves the voice's own
    place: Place


def draw_voice(config: MinivoxConfig, number: int) -> Voice:
    """The voice of that number (from 1): it depends on the seed and the spread, not on how many voices there are."""
    name = f"mv{number:03d}"
    draws = Draws(config.seed, name, "voice")
    gender = "fm"[number % 2]
    spread = config.voice_spread

    def near(centre: int, width: int) -> int:
        return draws.around(centre, width * spread // 100)

    accent = draws.pick(ACCENTS)
    tract = near(*TRACT[gender])
    pitch, liveliness = near(*PITCH[gender]), near(20, 14)
    lines = [f"pitch {pitch * (100 - liveliness) * 10 // tract} {pitch * (100 + liveliness) * 10 // tract}"]
    lines += [_formant(formant, near) for formant in range(9)]
    lines.append(_tone(near))
    lines.append(f"voicing {near(95, 20)}")
    lines.append(f"consonants {near(95, 45)} {near(95, 45)}")
    lines.append(f"flutter {max(near(4, 4), 0)}")
    lines.append(f"roughness {min(max(near(2, 4), 0), 7)}")
    lines.append(f"stressAdd {' '.join(str(near(0, 25)) for _ in range(8))}")
    breath = max(near(4, 12), 0)
    return Voice(name, gender, accent, tract, breath, near(176, 22), "\n".join(lines) + "\n")


def _formant(number: int, near: Callable[[int, int], int]) -> str:
    width = 8 if number in (1, 2, 3) else 10
    return f"formant {number} {near(100, width)} {near(100, 30)} {near(105, 35)}"


def _tone(near: Callable[[int, int], int]) -> str:
    """Gain (of 255) at four frequencies: the slope of the voice's spectrum."""
    levels = [(600, 170, 40), (1200, 135, 40), (2000, 110, 35), (3200, 110, 45)]
    return "tone " + " ".join(f"{hertz} {near(level, width)}" for hertz, level, width in levels)


def draw_utterances(config: MinivoxConfig, voice: Voice, number: int) -> list[Utterance]:
    """What the voice of that number says, each sentence once; test voices read sentences of their own."""
    numbered = list(enumerate(TRAIN_SENTENCES + TEST_SENTENCES, start=1))
    known = len(TRAIN_SENTENCES)
    texts = Draws(config.seed, voice.name, "texts").shuffled(
        numbered[known:] if number >= FIRST_TEST_VOICE else numbered[:known]
    )
    utterances = []
    for recording in range(1, config.recordings + 1):
        for sentence, text in sorted(texts[: config.utterances]):
            name = f"{voice.name}-r{recording}-{sentence:02d}"
            utterances.append(Utterance(name, voice.name, voice.gender, recording, sentence, text))
        texts = texts[config.utterances :]
    return utterances


def draw_session(config: MinivoxConfig, voice: Voice, recording: int) -> Session:
    """Recording number ``recording`` (from 1) of a voice: its day, room, microphone and noise."""
    draws = Draws(config.seed, voice.name, f"r{recording}", "session")

    def near(centre: int, width: int) -> int:
        return draws.around(centre, width * config.session_spread // 100)

    place = Place(
        room(draws, draws.integer(config.decay_min, config.decay_max)),
        channel(draws, config.colour),
        draws.pick(NOISES),
        draws.integer(config.snr_min, config.snr_max),
        draws.integer(1200, 3600),
    )
    return Session(near(voice.tract, 12), near(voice.rate, 16), near(50, 6), near(50, 14), place)
