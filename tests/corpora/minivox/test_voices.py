"""Voices and the synthesiser: apart from each other, free of state, on the exact synthesis path only."""

from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.minivox.config import FIRST_TEST_VOICE, MinivoxConfig
from imlkd.corpora.minivox.espeak import Espeak
from imlkd.corpora.minivox.voices import ACCENTS, Voice, draw_session, draw_utterances, draw_voice

pytest.importorskip("espeakng_loader")

CONFIG = MinivoxConfig()
VOICES = [draw_voice(CONFIG, number) for number in [*range(1, 181), *range(601, 645)]]


@pytest.fixture(scope="module")
def espeak(tmp_path_factory: pytest.TempPathFactory) -> Espeak:
    made = Espeak(tmp_path_factory.mktemp("espeak"))
    made.install()
    for voice in VOICES[:8]:
        made.define_voice(voice.name, voice.accent, voice.definition)
    return made


def test_nothing_said_before_is_heard(espeak: Espeak) -> None:
    def say(voice: str, text: str = "The boats left the harbour at noon.") -> bytes:
        return espeak.say(voice, text, 170, 50, 50).tobytes()

    first = say("mv001")
    say("mv002", "Something quite different, and rather longer than that!")
    assert say("mv001") == first
    assert say("mv003") != first
    assert len(first) / 2 / 22050 > 1.5


def test_voices_use_only_the_exact_synthesiser() -> None:
    """Breath and Klatt would put the C library's exp and cos on the signal path."""
    for voice in VOICES:
        words = [line.split()[0] for line in voice.definition.splitlines()]
        assert not {"breath", "breathw", "klatt", "mbrola", "echo"} & set(words)
    import espeakng_loader

    for accent in set(ACCENTS):
        text = (Path(espeakng_loader.get_data_path()) / "lang" / "gmw" / accent).read_text()
        assert "breath" not in text and "klatt" not in text and "mbrola" not in text


def test_voices_differ_and_genders_overlap() -> None:
    assert len({voice.definition for voice in VOICES}) == len(VOICES)
    assert {voice.accent for voice in VOICES} == set(ACCENTS)
    men = [lowest_pitch(voice) for voice in VOICES if voice.gender == "m"]
    women = [lowest_pitch(voice) for voice in VOICES if voice.gender == "f"]
    assert abs(len(men) - len(women)) <= 1
    assert np.mean(men) < np.mean(women) and max(men) > min(women)


def lowest_pitch(voice: Voice) -> int:
    return int(voice.definition.split()[1])


def test_spread_brings_voices_closer() -> None:
    near = [draw_voice(MinivoxConfig(voice_spread=20), number) for number in range(1, 61)]
    assert np.std([voice.tract for voice in near[::2]]) < 0.4 * np.std([voice.tract for voice in VOICES[:60:2]])


def test_recordings_differ_in_place_and_manner() -> None:
    sessions = [draw_session(CONFIG, VOICES[0], recording) for recording in range(1, 5)]
    assert len({(s.pitch, s.rate, s.tract, s.place.snr_db, s.place.rms) for s in sessions}) == 4
    assert all(CONFIG.snr_min <= s.place.snr_db <= CONFIG.snr_max for s in sessions)
    assert draw_session(CONFIG, VOICES[0], 2) == sessions[1]
    still = [draw_session(MinivoxConfig(session_spread=0), VOICES[0], recording) for recording in range(1, 5)]
    assert len({(s.pitch, s.rate, s.tract) for s in still}) == 1


def test_pitch_spoken_is_the_pitch_drawn(espeak: Espeak) -> None:
    """The synthesiser obeys: a voice drawn higher is heard higher (by autocorrelation)."""
    drawn, heard = [], []
    for voice in VOICES[:8]:
        signal = espeak.say(voice.name, "Nine lions ran in our lane, Mary.", 150, 50, 50).astype(float)
        drawn.append(lowest_pitch(voice))
        heard.append(np.median([pitch_of(signal[start : start + 1600]) for start in range(8000, 24000, 1600)]))
    assert np.corrcoef(drawn, heard)[0, 1] > 0.8


def pitch_of(frame: np.ndarray) -> float:
    correlation = np.correlate(frame, frame, "full")[len(frame) - 1 :]
    low, high = 22050 // 350, 22050 // 65
    return 22050 / (low + int(np.argmax(correlation[low:high])))


def test_utterance_names_sort_by_recording() -> None:
    names = [item.name for item in draw_utterances(CONFIG, VOICES[0], 1)]
    assert names == sorted(names) and len(names) == 16
    assert FIRST_TEST_VOICE == 601
