"""Which commands of wav.scp only decode a file."""

import pytest

from imlkd.corpora.pipes import file_of, flac_pipe

LHOTSE = "ffmpeg -threads 1 -i /a/b.flac -ar 16000 -map_channel 0.0.0  -f wav -threads 1 pipe:1 |"


@pytest.mark.parametrize(("command", "path"), [
    ("flac -c -d -s /a/b.flac |", "/a/b.flac"),
    ("flac -cds '/a/two words.flac' |", "/a/two words.flac"),
    ("/usr/bin/flac --decode --stdout --silent /a/b.flac |", "/a/b.flac"),
    ("cat /a/b.wav |", "/a/b.wav"),
    (LHOTSE, "/a/b.flac"),
    ("ffmpeg -v 8 -i /a/b.m4a -f wav -acodec pcm_s16le -|", "/a/b.m4a"),
    # What changes the samples, or may:
    ("flac -cds --skip=1000 /a/b.flac |", None),
    ("flac -cds /a/b.flac /a/c.flac |", None),
    ("flac -s /a/b.wav |", None),
    ("ffmpeg -i /a/b.flac -ss 1 -f wav - |", None),
    ("ffmpeg -i /a/b.flac -i /a/c.flac -f wav - |", None),
    ("ffmpeg -i /a/b.flac -map_channel 0.0.1 -f wav - |", None),
    ("ffmpeg -i /a/b.flac -ac 2 -f wav - |", None),
    ("ffmpeg -i /a/b.flac -af volume=2 -f wav - |", None),
    ("ffmpeg -i /a/b.flac -acodec pcm_mulaw -f wav - |", None),
    ("ffmpeg -i /a/b.flac out.wav |", None),
    (LHOTSE.replace("16000", "8000"), None),
    ("flac -cds /a/b.flac | sox - -r 8000 - |", None),
    ("sph2pipe -f wav /a/b.sph |", None),
    ("cat /a/b.ark |", None),
    ("cat '/a |", None),
    ("|", None),
])  # fmt: skip
def test_commands(command: str, path: str | None) -> None:
    assert file_of(command, sample_rate=16000) == path


def test_a_rate_that_is_not_known_is_not_taken_for_granted() -> None:
    assert file_of(LHOTSE) is None


def test_the_way_back() -> None:
    for path in ("/a/b.flac", "/a/it's two.flac"):
        assert file_of(flac_pipe(path)) == path
