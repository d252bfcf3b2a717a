"""What a user names as audio: files, folders, lists, ``wav.scp``, data directories, standard input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from imlkd.corpora.audio import Samples, Source, named, resolve_sources, run_pipe
from imlkd.corpora.kaldi_dir import DataDir, Segment, read_data_dir
from imlkd.errors import UserError
from imlkd.files import os_errors
from imlkd.kaldi_io import read_lines, read_table
from imlkd.runtime.audio import AudioOptions, read_audio

AUDIO = frozenset(".wav .flac .ogg .opus .mp3 .m4a .aac .aiff .aif .au .sph .w64 .caf .rf64".split())
LISTS = frozenset({".txt", ".lst", ".list"})
STDIN = "-"
STDIN_SCP = "scp:-"
_AUDIO_STARTS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3", b".snd", b"NIST_1A")


@dataclass(frozen=True)
class Recording:
    """One thing to embed.

    :param id: of the utterance, or the path as the user gave it.
    :param content: of standard input, when that is audio.
    :param segment: the part that counts; None: all.
    """

    id: str
    source: Source
    content: bytes | None = None
    segment: Segment | None = None

    def read(self, sample_rate: int, options: AudioOptions) -> Samples:
        """Its samples, see ``read_audio``."""
        content = self.content
        if self.source.is_pipe and content is None:
            content = run_pipe(self.source)
        return read_audio(self.source, sample_rate, options, content, self.segment)

    @property
    def place(self) -> str:
        """For messages: where it was named, and its path."""
        return named(self.source)


@dataclass(frozen=True)
class _Listing(DataDir):
    """A list of audio files, seen as a data directory whose recordings are all there is."""

    listing: str = ""

    @property
    def is_manifest(self) -> bool:
        return True

    def table(self, name: str) -> str:
        """The list itself, whatever the table."""
        return self.listing


def recordings(inputs: Iterable[str], allow_pipes: bool = False, stdin: IO[bytes] | None = None) -> list[Recording]:
    """All recordings that ``inputs`` name, in their order.

    A data directory gives its utterances, another folder all audio below it by path, a file called ``.scp`` its lines
    ``<id> <path>``, one called ``.txt``, ``.lst`` or ``.list`` a path a line, ``-`` standard input (audio, or a path a
    line), ``scp:-`` the lines of a wav.scp from there. Anything else is an audio file.

    :raises UserError: for a list that is missing or malformed, an empty folder, an id that comes twice.
    """
    found: dict[str, Recording] = {}
    for name in inputs:
        for one in _recordings_of(name, allow_pipes, stdin):
            if one.id in found:
                raise UserError(f"{one.id}: named twice (the second time by {name}): leave one out")
            found[one.id] = one
    return list(found.values())


def _recordings_of(name: str, allow_pipes: bool, stdin: IO[bytes] | None) -> Iterable[Recording]:
    path = Path(name)
    if name in (STDIN, STDIN_SCP):
        return _from_stdin(name, allow_pipes, stdin)
    if path.is_dir():
        return _from_folder(path, allow_pipes)
    if path.suffix == ".scp":
        return _from_table(read_table(path, sorted_ids=False), name, path, allow_pipes)
    if path.suffix in LISTS:
        lines = [line.strip() for _, line in read_lines(path)]
        return _from_paths(lines, name, path, allow_pipes)
    return [Recording(name, Source(name, name, False, ""))]


def _from_folder(folder: Path, allow_pipes: bool) -> Iterable[Recording]:
    if (folder / "utt2spk").is_file() and (folder / "wav.scp").is_file():
        data = read_data_dir(folder)
        sources = resolve_sources(data, allow_pipes).by_recording
        return [
            Recording(name, sources[data.recording(name)], segment=data.segments[name] if data.segments else None)
            for name in data.utterances
        ]
    if (folder / "wav.scp").is_file():
        return _recordings_of(str(folder / "wav.scp"), allow_pipes, None)
    paths = sorted(_audio_below(folder), key=os.fsencode)
    if not paths:
        raise UserError(f"{folder}: no audio in it or below: expected {', '.join(sorted(AUDIO))}, or a wav.scp")
    return [Recording(path, Source(path, str(folder / path), False, "")) for path in paths]


def _audio_below(folder: Path) -> Iterator[str]:
    with os_errors(folder):
        for root, folders, files in os.walk(folder):
            folders.sort()
            for name in files:
                if Path(name).suffix.lower() in AUDIO and not name.startswith("."):
                    yield str(Path(root, name).relative_to(folder))


def _from_stdin(name: str, allow_pipes: bool, stdin: IO[bytes] | None) -> Iterable[Recording]:
    if stdin is None:
        raise UserError(f"{name}: standard input cannot be read here: name a file")
    content, place = stdin.read(), "standard input"
    if name == STDIN and content.startswith(_AUDIO_STARTS):
        return [Recording(STDIN, Source(STDIN, STDIN, True, place), content)]
    try:
        lines = [line.strip() for line in io.StringIO(content.decode("utf-8")) if line.strip()]
    except UnicodeDecodeError:
        raise UserError(f"{place}: neither audio of a known kind nor a list of paths") from None
    here = Path.cwd() / "stdin"
    if name == STDIN:
        return _from_paths(lines, place, here, allow_pipes)
    pairs = [line.split(maxsplit=1) for line in lines]
    table = {pair[0]: pair[-1] for pair in pairs}
    if len(table) < len(lines) or not all(len(pair) == 2 for pair in pairs):
        raise UserError(f"{place}: expected lines of an id and a path, each id once")
    return _from_table(table, place, here, allow_pipes)


def _from_paths(lines: list[str], place: str, beside: Path, allow_pipes: bool) -> Iterable[Recording]:
    if not all(lines):
        raise UserError(f"{place}:{lines.index('') + 1}: empty line: expected the path of an audio file")
    if len(set(lines)) < len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise UserError(f"{place}: {twice} comes twice: leave one out")
    return _from_table(dict(zip(lines, lines, strict=True)), place, beside, allow_pipes)


def _from_table(table: dict[str, str], place: str, beside: Path, allow_pipes: bool) -> Iterable[Recording]:
    """Paths are relative to the working directory, or to the folder of the list: one rule for all of them."""
    if not table:
        raise UserError(f"{place}: names no audio: expected a line for each file")
    sources = resolve_sources(_Listing(beside, table, None, {}, {}, listing=place), allow_pipes).by_recording
    return [Recording(name, sources[name]) for name in table]
