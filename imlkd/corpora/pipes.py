"""Commands in ``wav.scp`` that only decode a file: the file is read in their place, Kaldi gets them where it must."""

from __future__ import annotations

import os
import shlex

from imlkd.corpora.audio_tree import AUDIO

# Options of ffmpeg that leave the samples as they are, once rate and channels are checked, and how many words follow.
_HARMLESS = {
    "-threads": 1, "-i": 1, "-ar": 1, "-f": 1, "-acodec": 1, "-c:a": 1, "-loglevel": 1, "-v": 1, "-nostdin": 0,
    "-y": 0, "-hide_banner": 0, "-vn": 0,
}  # fmt: skip
_VALUES = {
    "-f": {"wav"}, "-acodec": {"pcm_s16le"}, "-c:a": {"pcm_s16le"}, "-ac": {"1"}, "-map_channel": {"0.0.0"},
}  # fmt: skip


def file_of(command: str, sample_rate: int | None = None) -> str | None:
    """The file that a pipe decodes without changing its samples; None for any other command.

    Known are ``flac -cds FILE |``, ``cat FILE |`` and what Lhotse writes, ``ffmpeg -threads 1 -i FILE -ar RATE
    -map_channel 0.0.0 -f wav -threads 1 pipe:1 |``.

    :param sample_rate: Hz of the file, where known: an ``-ar`` that says otherwise resamples.
    """
    try:
        words = shlex.split(command.strip().removesuffix("|"))
    except ValueError:
        return None
    if not words or any(word in (";", "&&", "||", "|", ">", "<") for word in words):
        return None
    name, rest = os.path.basename(words[0]), words[1:]
    if name == "ffmpeg":
        path = _of_ffmpeg(rest, sample_rate)
    else:
        path = _of_flac(rest) if name == "flac" else _of_cat(rest) if name == "cat" else None
    return path if path and os.path.splitext(path)[1].lower() in AUDIO else None


def flac_pipe(path: str) -> str:
    """What Kaldi's programs, which read no FLAC, need in the place of a FLAC file."""
    return f"flac -c -d -s {shlex.quote(path)} |"


def _of_flac(words: list[str]) -> str | None:
    letters = "".join(word[1:] for word in words if word.startswith("-") and not word.startswith("--"))
    files = [word for word in words if not word.startswith("-")]
    longs = {word for word in words if word.startswith("--")} - {"--stdout", "--decode", "--silent"}
    decodes = "d" in letters or "--decode" in words
    return files[0] if len(files) == 1 and decodes and not longs and set(letters) <= set("cds") else None


def _of_cat(words: list[str]) -> str | None:
    return words[0] if len(words) == 1 and not words[0].startswith("-") else None


def _of_ffmpeg(words: list[str], sample_rate: int | None) -> str | None:
    found, at = "", 0
    while at < len(words):
        word = words[at]
        value = words[at + 1] if at + 1 < len(words) else ""
        if word in ("-", "pipe:1", "/dev/stdout") and at == len(words) - 1:
            return found or None
        if word in _VALUES and value not in _VALUES[word] or word not in (*_HARMLESS, *_VALUES):
            return None
        if word == "-ar" and value != str(sample_rate):
            return None
        if word == "-i":
            if found:
                return None
            found = value
        at += 1 + _HARMLESS.get(word, 1)
    return None
