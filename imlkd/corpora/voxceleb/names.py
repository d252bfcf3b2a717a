"""VoxCeleb's parts, their published sizes, and the spellings of utterance ids.

Nagrani, Chung, Zisserman, "VoxCeleb: a large-scale speaker identification dataset", Interspeech 2017, and Chung,
Nagrani, Zisserman, "VoxCeleb2: Deep speaker recognition", Interspeech 2018. Ids here are Kaldi's:
``id10270/x6uYqmx31kE/00001.wav`` is ``id10270-x6uYqmx31kE-00001``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VOX1_DEV, VOX1_TEST, VOX2_DEV, VOX2_TEST = PARTS = ("vox1_dev", "vox1_test", "vox2_dev", "vox2_test")
VOX1 = "vox1"  # both parts of VoxCeleb1, the test set of the lists E and H


@dataclass(frozen=True)
class Size:
    """Speakers, videos and utterances of a part."""

    speakers: int
    videos: int
    utterances: int


# Tables 2 of the two papers and https://www.robots.ox.ac.uk/~vgg/data/voxceleb/
PUBLISHED = {
    VOX1_DEV: Size(1211, 21819, 148642),
    VOX1_TEST: Size(40, 677, 4874),
    VOX2_DEV: Size(5994, 145569, 1092009),
    VOX2_TEST: Size(118, 4911, 36237),
}

_SPEAKER = re.compile(r"id\d{5}")
# Speaker, video and number: with "/" as in the lists (and wespeaker's ids), "-" as Kaldi's, "--" as SpeechBrain's. The
# name of a video has 11 characters, "-" and "_" among them; other lengths are taken where the separators are clear.
_PATH = re.compile(r"(?:.*/)?(id\d{5})/([^/]+)/([^/]+?)(?:\.(?:wav|flac|m4a|aac))?", re.IGNORECASE)
_DOUBLE = re.compile(r"(id\d{5})--(.+?)--(\d+)(?:\.\w+)?")
_KALDI = re.compile(r"(id\d{5})-(.+)-(\w+)")
_FIRST_VOX1, _TEST_SPEAKERS = "id10001", ("id10270", "id10309")


def kaldi_id(name: str) -> str:
    """``id10270/x6uYqmx31kE/00001.wav``, SpeechBrain's and Kaldi's own spelling -> ``id10270-x6uYqmx31kE-00001``.

    Folders in front are dropped, as is the extension; a name that is none of these stays as it is.
    """
    match = _PATH.fullmatch(name) or _DOUBLE.fullmatch(name)
    return "-".join(match.groups()) if match else name


def is_id(name: str) -> bool:
    """Whether ``name`` is an utterance id in Kaldi's spelling, without white space."""
    return _KALDI.fullmatch(name) is not None and name.split() == [name]


def is_speaker(name: str) -> bool:
    """Whether ``name`` is called like a speaker's folder."""
    return _SPEAKER.fullmatch(name) is not None


def speaker_of(utterance: str) -> str:
    """The speaker of an id in Kaldi's spelling."""
    return utterance[:7]


def video_of(utterance: str) -> str:
    """The speaker and video of an id in Kaldi's spelling."""
    return utterance.rpartition("-")[0]


def part_of(speaker: str, is_vox2_test: bool = False) -> str:
    """The part that a speaker belongs to. VoxCeleb1 numbers from 10001 on, VoxCeleb2 below; VoxCeleb1's test speakers
    are the 40 whose names begin with E, id10270 to id10309. VoxCeleb2's lie scattered and must be told.
    """
    if speaker < _FIRST_VOX1:
        return VOX2_TEST if is_vox2_test else VOX2_DEV
    return VOX1_TEST if _TEST_SPEAKERS[0] <= speaker <= _TEST_SPEAKERS[1] else VOX1_DEV


def known_speakers(part: str) -> list[str]:
    """The speakers of a part of VoxCeleb1, whose numbers have no gaps; none for VoxCeleb2."""
    numbers = range(10001, 11252) if part in (VOX1_DEV, VOX1_TEST) else ()
    return [speaker for speaker in (f"id{number}" for number in numbers) if part_of(speaker) == part]
