"""Which corpus a folder looks like, for the message when it isn't the one that was asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = 400  # how many folders are looked into, nearest first
_NAMES = 200  # names in each

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
    archives = 0
    audio = ""
    for path in _paths(folder):
        for name, pattern in _SIGNS:
            if pattern.fullmatch(path):
                return name
        base = os.path.basename(path)
        if base in ("wav.scp", "utt2spk"):
            return "a Kaldi data directory" if "/" not in path else f"Kaldi data directories ({os.path.dirname(path)})"
        if base.endswith((".zip", ".tar.gz", ".tgz")) or re.search(r"_part[a-z]{2}$", base):
            archives += 1
        elif base.lower().endswith((".wav", ".flac", ".m4a")):
            audio = audio or path
    if archives:
        return f"{archives} archives that are not unpacked yet"
    return f"audio of some other corpus ({audio})" if audio else None


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
