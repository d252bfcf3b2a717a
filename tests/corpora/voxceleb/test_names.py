"""imlkd/corpora/voxceleb/names.py: ids, parts and their published sizes."""

import pytest

from imlkd.corpora.voxceleb.names import (
    PARTS,
    PUBLISHED,
    VOX1_DEV,
    VOX1_TEST,
    VOX2_DEV,
    VOX2_TEST,
    is_id,
    kaldi_id,
    known_speakers,
    part_of,
    speaker_of,
    video_of,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("id10270/x6uYqmx31kE/00001.wav", "id10270-x6uYqmx31kE-00001"),
        ("id10270/-6uYq_x31-E/00001.flac", "id10270--6uYq_x31-E-00001"),
        ("/corpora/über alles/dev/aac/id00012/21Uxsk56VDQ/00001.M4A", "id00012-21Uxsk56VDQ-00001"),
        ("id10270-x6uYqmx31kE-00001", "id10270-x6uYqmx31kE-00001"),
        ("id10270--x6uYqmx31kE--00001", "id10270-x6uYqmx31kE-00001"),
        ("id10270--6uYq_x31-E-00001", "id10270--6uYq_x31-E-00001"),  # a video whose name begins with a dash
        ("id10270----6uYq_x31-E--00001", "id10270---6uYq_x31-E-00001"),
        ("19-198-0001.flac", "19-198-0001.flac"),
    ],
)
def test_ids(name: str, expected: str) -> None:
    assert kaldi_id(name) == expected


def test_parts_of_an_id() -> None:
    name = "id10270--6uYq_x31-E-00001"
    assert (speaker_of(name), video_of(name)) == ("id10270", "id10270--6uYq_x31-E")
    assert is_id(name) and not is_id("id10270/x/00001") and not is_id("id10270-a b-00001") and not is_id("s1-u1")


def test_vox1_numbers_give_the_published_counts_of_speakers() -> None:
    assert [len(known_speakers(part)) for part in PARTS] == [PUBLISHED[VOX1_DEV].speakers, 40, 0, 0]
    assert known_speakers(VOX1_TEST)[0] == "id10270" and part_of("id10269") == part_of("id10310") == VOX1_DEV
    assert (part_of("id09272"), part_of("id00017", True)) == (VOX2_DEV, VOX2_TEST)
