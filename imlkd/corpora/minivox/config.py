"""The size and the hardness of the built-in corpus."""

from __future__ import annotations

from dataclasses import dataclass

from imlkd.config import bounded
from imlkd.corpora.minivox.text import TEST_SENTENCES
from imlkd.errors import UserError

# Test voices are numbered from here, so that a voice never depends on how many others there are.
FIRST_TEST_VOICE = 601


@dataclass(frozen=True)
class MinivoxConfig:
    """What `imlkd minivox` makes; the same values give the same bytes."""

    seed: int = bounded(2026, low=0, help="names the whole corpus: another seed, other voices and rooms")
    teacher_voices: int = bounded(180, low=2, high=600, help="voices of minivox_teacher_train")
    student_voices: int = bounded(60, low=2, high=600, help="of these, the first so many are minivox_train")
    test_voices: int = bounded(44, low=4, high=399, help="other voices, for minivox_test")
    recordings: int = bounded(
        4, low=2, high=9, help="recordings of a voice, each with its own room, microphone and noise"
    )
    utterances: int = bounded(4, low=1, high=8, help="utterances of a recording")
    snr_min: int = bounded(5, low=0, high=40, help="lowest signal-to-noise ratio of a recording, dB")
    snr_max: int = bounded(20, low=0, high=40, help="highest signal-to-noise ratio of a recording, dB")
    decay_min: int = bounded(60, low=10, high=400, help="shortest decay of a room to a twentieth, ms")
    decay_max: int = bounded(240, low=10, high=400, help="longest decay of a room to a twentieth, ms")
    colour: int = bounded(30, low=0, high=60, help="strength of the microphones' colour, percent")
    voice_spread: int = bounded(100, low=10, high=200, help="how far voices lie apart, percent of the usual")
    session_spread: int = bounded(100, low=0, high=300, help="how much a voice changes between recordings, percent")
    nontargets: int = bounded(1, low=1, high=10, help="nontarget trials for each target trial")

    def check(self) -> None:
        """UserError where two values do not go together."""
        for low, high in (("student_voices", "teacher_voices"), ("snr_min", "snr_max"), ("decay_min", "decay_max")):
            if getattr(self, low) > getattr(self, high):
                raise UserError(f"{low}: {getattr(self, low)} is above {high}, {getattr(self, high)}")
        if self.recordings * self.utterances > len(TEST_SENTENCES):
            raise UserError(
                f"utterances: {self.recordings} recordings of {self.utterances} need more than the"
                f" {len(TEST_SENTENCES)} sentences there are: lower one of them"
            )
