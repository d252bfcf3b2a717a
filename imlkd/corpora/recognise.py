"""Which corpus a folder looks like, for the message when it isn't the one that was asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = 400  # how many folders are looked into, nearest first
_NAMES = 200  # names in each
_SPEAKER_OF_VOXCELEB = re.compile(r"(^|.*[/_-])id[01]\d{4}[/_-].*", re.IGNORECASE)
ARCHIVE = re.compile(r".*(\.zip|\.tar|\.tar\.gz|\.tgz|_part[a-z]{2}|\.z\d\d)", re.IGNORECASE)

# The path of a file below the folder, or its end: first match wins.
_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("VoxCeleb2 (m4a)", r"(^|.*/)id0\d{4}/[^/]+/\d{5}\.m4a"),
        ("VoxCeleb2", r"(^|.*/)id0\d{4}/[^/]{11}/\d{5}\.(wav|flac)"),
        ("VoxCeleb1", r"(^|.*/)id1[01]\d{3}/[^/]{11}/\d{5}\.(wav|flac|m4a)"),
        ("VoxCeleb1 in its first edition, with names for folders", r"(^|.*/)[A-Z][\w.'-]+_\w+/[^/]{11}/\d{5,7}\.wav"),
        ("CN-Celeb", r"(^|.*/)id\d{5}/(advertisement|drama|entertainment|interview|live_broadcast|movie|play|"
         r"recitation|singing|speech|vlog)-\d+-\d+\.(wav|flac)"),
        ("CN-Celeb (its test part)", r"(^|.*/)id\d{5}-(enroll|advertisement|drama|entertainment|interview|movie|"
         r"live_broadcast|play|recitation|singing|speech|vlog)(-\d+-\d+)?\.(wav|flac)"),
        ("LibriSpeech", r"(^|.*/)(\d+)/(\d+)/\2-\3-\d{4}\.flac"),
        ("LibriTTS", r"(^|.*/)(\d+)/(\d+)/\2_\3_\d{6}_\d{6}\.wav"),
        ("VCTK", r"(^|.*/)[ps]\d{1,3}/[ps]\d{1,3}_\d{3}(_mic[12])?\.(wav|flac)"),
        ("MUSAN", r"(^|.*/)(music|noise|speech)/[^/]+/(music|noise|speech)-[^/]+-\d{4}\.wav"),
        ("RIRS_NOISES", r"(^|.*/)(simulated_rirs|real_rirs_isotropic_noises|pointsource_noises)/.*\.wav"),
    )
)  # fmt: skip


def looks_like(folder: Path) -> str | None:
    """The corpus whose file names lie below ``folder``, or a word on what does; None when nothing is known.

    Looks into a few hundred folders at most.
    """
    archives: list[str] = []
    audio = bare = ""
    for path in _paths(folder):
        for name, pattern in _SIGNS:
            if pattern.fullmatch(path):
                return name
        base = os.path.basename(path)
        if base in ("wav.scp", "utt2spk"):
            return "a Kaldi data directory" if "/" not in path else f"Kaldi data directories ({os.path.dirname(path)})"
        if ARCHIVE.fullmatch(base):
            archives.append(path)
        elif base.lower().endswith((".wav", ".flac", ".m4a")):
            audio = audio or path
        elif "." not in base and _SPEAKER_OF_VOXCELEB.fullmatch(path):
            bare = bare or path
    if archives:
        return f"{len(archives)} archives that are not unpacked yet{_joining(archives)}"
    if _SPEAKER_OF_VOXCELEB.fullmatch(audio):
        return f"VoxCeleb whose files lie otherwise than in idNNNNN/VIDEO/NNNNN ({audio})"
    if bare:
        return f"VoxCeleb whose files have lost their extension ({bare}): give them .m4a or .wav again"
    return f"audio of some other corpus ({audio})" if audio else None


def _joining(archives: list[str]) -> str:
    """What to do with the parts of a zip file."""
    part = next((path for path in archives if re.search(r"_part[a-z]{2}$", path)), "")
    stem = part[: -len("_partaa")]
    return f" (join the parts first: `cat {stem}_part* > {stem}.zip`)" if part else ""


def hint(folder: Path) -> str:
    """``looks_like`` as the end of a message: '; it looks like LibriSpeech', or empty."""
    found = looks_like(folder)
    return f"; it looks like {found}" if found else ""


def _paths(folder: Path) -> Iterator[str]:
    """Paths of files relative to ``folder``, breadth first, hidden ones left out."""
    top = os.path.abspath(folder)
    waiting = [top]
    for index in range(_FOLDERS):
        if index >= len(waiting):
            return
        try:
            names = sorted(os.listdir(waiting[index]))[:_NAMES]
        except OSError:
            continue
        for name in names:
            path = os.path.join(waiting[index], name)
            if name.startswith("."):
                continue
            if os.path.isdir(path):
                waiting.append(path)
            else:
                yield os.path.relpath(path, top)
