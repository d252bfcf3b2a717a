"""VoxCeleb's audio wherever the user has it: folders of files, Kaldi data directories, plain lists.

Every source says what was found in it, what was used, and why the rest was dropped.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imlkd.corpora.audio_tree import AUDIO, AudioTree
from imlkd.corpora.recognise import hint
from imlkd.corpora.relocation import relocated
from imlkd.corpora.voxceleb.names import PARTS, VOX2_DEV, VOX2_TEST, is_id, is_speaker, kaldi_id, part_of, speaker_of
from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines, read_table

# Of two files of one utterance the one that costs less to read.
_RANK = {".flac": 0, ".wav": 1, "|": 3, ".m4a": 4, ".aac": 4}
_OTHER = 2
_PROBED = 100
_EXAMPLES = 3
# `ffmpeg ... -i FILE ... |`, `flac -cds FILE |`: what other recipes write; the file itself is read here.
_PIPE = re.compile(
    r"(?:ffmpeg\b.*?\s-i|flac\s+(?:-\w+\s+)*?-\w*d\w*(?:\s+-\w+)*)\s+('[^']+'|\"[^\"]+\"|\S+)(?:\s.*)?\|\s*$"
)


@dataclass
class SourceRow:
    """One line of the table of sources.

    :param found: files or entries that are audio by their names.
    :param dropped: reason -> how many were not used.
    :param examples: reason -> the first few of them.
    """

    path: Path
    kind: str
    found: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, example: str) -> None:
        """One more that is not used."""
        self.dropped[reason] += 1
        listed = self.examples.setdefault(reason, [])
        if len(listed) < _EXAMPLES:
            listed.append(example)


@dataclass
class Gathered:
    """Audio of all sources.

    :param audio: part -> utterance (Kaldi's id) -> absolute path, or command that ends in a bar.
    :param durations: utterance -> seconds, where a Kaldi directory says so.
    """

    audio: dict[str, dict[str, str]] = field(default_factory=lambda: {part: {} for part in PARTS})
    durations: dict[str, str] = field(default_factory=dict)
    rows: list[SourceRow] = field(default_factory=list)


def gather(
    sources: Sequence[Path], vox2_test: frozenset[str] = frozenset(), relocate: tuple[str, str] | None = None
) -> Gathered:
    """Read all ``sources``; of an utterance that is there in several formats FLAC is used before WAV before m4a.

    :param vox2_test: VoxCeleb2's test speakers, when known; a folder called ``test`` above a speaker's tells too.
    :param relocate: (old, new) beginning of the paths in tables and lists.
    :raises UserError: for a source without VoxCeleb's audio (with what it looks like), a table or list of moved audio,
        an utterance that is there twice in one format.
    """
    gathered = Gathered()
    owners: dict[str, SourceRow] = {}
    for source in sources:
        row, entries = _open(source, relocate)
        gathered.rows.append(row)
        gathered.durations.update(_durations(source))
        for name, path in entries:
            row.found += 1
            utterance = kaldi_id(name)
            if not is_id(utterance):
                row.drop("no name of VoxCeleb's (idNNNNN/VIDEO/NNNNN)", path)
                continue
            is_test = speaker_of(utterance) in vox2_test or below_test(path)
            part = part_of(speaker_of(utterance), is_test)
            _put(gathered.audio, owners, part, utterance, path, row)
        if not row.used and not row.dropped["there as well in a format that is read faster"]:
            raise UserError(
                f"{source}: holds no VoxCeleb audio (idNNNNN/VIDEO/NNNNN.wav, .flac or .m4a; dev/aac, wav, test or "
                f"whatever folders above){hint(source) if source.is_dir() else ''}: mend the path"
            )
    return gathered


def _put(
    audio: dict[str, dict[str, str]], owners: dict[str, SourceRow], part: str, utterance: str, path: str, row: SourceRow
) -> None:
    known = audio[part].get(utterance)
    if known is None and part in (VOX2_DEV, VOX2_TEST):
        other = VOX2_TEST if part == VOX2_DEV else VOX2_DEV
        if utterance in audio[other]:
            raise UserError(f"{path}: {utterance} is in the test part as well, {audio[other][utterance]}: keep one")
    if known is not None:
        mine, theirs = _rank(path), _rank(known)
        if path == known or (mine == theirs and os.path.exists(path) and os.path.samefile(path, known)):
            row.drop("the same file once more", path)
            return
        if mine == theirs:
            raise UserError(f"{path}: {utterance} is also {known}: keep one of the two")
        loser = row if mine > theirs else owners[utterance]
        loser.drop("there as well in a format that is read faster", path if mine > theirs else known)
        if mine > theirs:
            return
        owners[utterance].used -= 1
    audio[part][utterance] = path
    owners[utterance] = row
    row.used += 1


def _rank(path: str) -> int:
    return _RANK["|"] if path.endswith("|") else _RANK.get(os.path.splitext(path)[1].lower(), _OTHER)


def below_test(path: str) -> bool:
    """Whether the nearest folder called dev or test, up to three above the speaker's, is test."""
    parts = path.split("/")
    speaker = next((i for i in range(len(parts) - 1, -1, -1) if is_speaker(parts[i])), 0)
    for name in reversed(parts[max(0, speaker - 3) : speaker]):
        if name.lower() in ("dev", "test"):
            return name.lower() == "test"
    return False


def _open(source: Path, relocate: tuple[str, str] | None) -> tuple[SourceRow, Iterable[tuple[str, str]]]:
    """The kind of a source, and its (name, path) pairs."""
    if source.is_file():
        row = SourceRow(source, "list")
        return row, _moved(_read_list(source), relocate, row)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or list: mend the path")
    if (source / "wav.scp").is_file():
        row = SourceRow(source, "Kaldi directory")
        return row, _moved(_read_kaldi(source), relocate, row)
    shards = [path for path in source.iterdir() if path.suffix == ".tar" or path.name == "shard.list"]
    if shards:
        raise UserError(
            f"{source}: holds {len(shards)} shards: unpack them once with `imlkd corpus unpack {source} DIR` "
            "(prepare.sh: --unpack-to DIR), and give that folder"
        )
    row = SourceRow(source, "folders")
    return row, _walk(source, row)


def _walk(source: Path, row: SourceRow) -> Iterator[tuple[str, str]]:
    tree = AudioTree(source)
    for path, below in tree.files():
        yield below if below.count("/") > 1 else path, path
    for reason, count in tree.passed_over.items():
        row.dropped[reason] += count
        row.examples[reason] = tree.examples[reason]


def _read_kaldi(folder: Path) -> dict[str, str]:
    if (folder / "segments").is_file():
        raise UserError(f"{folder / 'segments'}: segments of recordings: give this directory with --corpus kaldi")
    wav = read_table(folder / "wav.scp", sorted_ids=False)
    return _absolute({name: _file_of_pipe(value) for name, value in wav.items()}, folder / "wav.scp", folder.parent)


def _durations(source: Path) -> dict[str, str]:
    """Seconds that a Kaldi directory states, by Kaldi's spelling of the ids."""
    for name in ("utt2dur", "reco2dur"):
        if (source / name).is_file() and (source / "wav.scp").is_file():
            table = read_table(source / name, fields=2, sorted_ids=False)
            return {kaldi_id(key): seconds for key, seconds in table.items()}
    return {}


def _file_of_pipe(value: str) -> str:
    """The file that a pipe of a usual recipe decodes; other values as they are."""
    match = _PIPE.fullmatch(value) if value.endswith("|") else None
    if match is None:
        return value
    path = shlex.split(match[1])[0]
    return path if os.path.splitext(path)[1].lower() in AUDIO else value


def _read_list(path: Path) -> dict[str, str]:
    """``PATH``, ``ID PATH`` or ``SPEAKER PATH`` a line; the paths may hold spaces."""
    wav: dict[str, str] = {}
    for number, line in read_lines(path):
        first, _, rest = line.strip().partition(" ")
        named = bool(rest) and is_id(kaldi_id(first))
        value = rest.strip() if rest and (named or is_speaker(first)) else line.strip()
        name = first if named else value
        if not value:
            raise UserError(f"{path}:{number}: empty line: expected `PATH` or `ID PATH`")
        if name in wav:
            raise UserError(f"{path}:{number}: {name} is there twice: keep one line")
        wav[name] = value
    if not wav:
        raise UserError(f"{path}: empty file: expected one `PATH` or `ID PATH` a line")
    return _absolute(wav, path, path.parent)


def _absolute(wav: dict[str, str], where: Path, beside: Path) -> dict[str, str]:
    """Relative paths made absolute: below the working directory, or ``beside`` when more of the first files are."""
    relative = [value for value in wav.values() if not value.endswith("|") and not value.startswith("/")][:_PROBED]
    if not relative:
        return wav
    here, beside = Path.cwd(), beside.absolute()
    counts = [sum((base / value).is_file() for value in relative) for base in (here, beside)]
    if not any(counts):
        raise UserError(f"{where}: no such file {relative[0]}: looked in the working directory {here} and in {beside}")
    base = here if counts[0] >= counts[1] else beside
    return {key: value if value.endswith("|") else os.path.join(base, value) for key, value in wav.items()}


def _moved(wav: dict[str, str], relocate: tuple[str, str] | None, row: SourceRow) -> Iterable[tuple[str, str]]:
    if relocate is not None:
        wav = relocated(wav, *relocate, where=str(row.path))
    probed = [value for value in wav.values() if not value.endswith("|")][:_PROBED]
    gone = [value for value in probed if not os.path.exists(value)]
    if probed and len(gone) == len(probed):
        raise UserError(
            f"{row.path}: none of the first {len(probed)} files is there (first: {gone[0]}): when the audio has moved, "
            "say from where to where with --relocate OLD NEW"
        )
    return wav.items()
