"""What comes beside VoxCeleb's audio: ``vox1_meta.csv``, ``vox2_meta.csv``, lists of what there should be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imlkd.corpora.voxceleb.names import VOX1_TEST, is_id, is_speaker, kaldi_id, part_of, speaker_of
from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines

NAMES = ("vox1_meta.csv", "vox2_meta.csv")


@dataclass
class Meta:
    """Speakers as the tables name them.

    :param genders: speaker -> m or f.
    :param vox2_test: VoxCeleb2's test speakers.
    :param speakers: all of them, by part.
    """

    genders: dict[str, str] = field(default_factory=dict)
    vox2_test: frozenset[str] = frozenset()
    speakers: dict[str, set[str]] = field(default_factory=dict)


def find_meta(sources: Sequence[Path]) -> list[Path]:
    """The tables that lie in a source, or in one of the two folders above it."""
    folders = [folder for source in sources for folder in (source, source.parent, source.parent.parent)]
    found = {(folder / name).resolve(): folder / name for folder in folders for name in NAMES}
    return [path for path in found.values() if path.is_file()]


def read_meta(paths: Iterable[Path]) -> Meta:
    """Read tables of columns ID, VGGFace ID, gender, (nationality,) set, separated by tabs or commas.

    :raises UserError: naming file and line, for a line whose first field is no speaker, or a set but dev and test.
    """
    meta = Meta()
    vox2_test: set[str] = set()
    for path in paths:
        for number, line in read_lines(path):
            fields = [part.strip() for part in re.split(r"\t|,", line) if part.strip()]
            if number == 1 and not re.match(r"id\d", line):
                continue  # the header
            if len(fields) < 4 or not is_speaker(fields[0]) or fields[-1] not in ("dev", "test"):
                raise UserError(f"{path}:{number}: expected `idNNNNN name gender ... dev|test`, found {line[:60]!r}")
            speaker, is_test = fields[0], fields[-1] == "test"
            gender = next((part for part in fields[1:-1] if part in ("m", "f")), None)
            if gender:
                meta.genders[speaker] = gender
            part = part_of(speaker, is_test)
            if is_test and part != VOX1_TEST:
                vox2_test.add(speaker)
            meta.speakers.setdefault(part, set()).add(speaker)
    meta.vox2_test = frozenset(vox2_test)
    return meta


def read_expected(paths: Iterable[Path]) -> set[str]:
    """Utterances that lists name in any column: ``iden_split.txt``, ``train_list.txt``, trial lists, plain lists.

    :raises UserError: for a list that names none.
    """
    expected: set[str] = set()
    for path in paths:
        before = len(expected)
        for _, line in read_lines(path):
            expected.update(name for name in map(kaldi_id, line.split()) if is_id(name))
        if len(expected) == before:
            raise UserError(f"{path}: names no utterance of VoxCeleb's that others don't: leave it out of --expect")
    return expected


def missing_by_speaker(expected: Iterable[str], found: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Speaker -> (utterances expected, of these missing), for speakers who miss some."""
    known = set(found)
    counts: dict[str, list[int]] = {}
    for utterance in expected:
        of_speaker = counts.setdefault(speaker_of(utterance), [0, 0])
        of_speaker[0] += 1
        of_speaker[1] += utterance not in known
    return {speaker: (count, missing) for speaker, (count, missing) in sorted(counts.items()) if missing}
