"""Shards (tar files as wespeaker's ``make_shard_list.py`` or Lhotse Shar leave them) to a tree of their audio files."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from imlkd.corpora.audio_tree import AUDIO, refuse_case_clash
from imlkd.corpora.folders import locked
from imlkd.corpora.lhotse.storages import refuse_leaving
from imlkd.corpora.threads import threads
from imlkd.corpora.voxceleb.names import is_id, kaldi_id, speaker_of, video_of
from imlkd.errors import UserError
from imlkd.files import atomic_open, make_dir, os_errors
from imlkd.kaldi_io import read_lines
from imlkd.progress import Progress

LIST = "shard.list"


def find_shards(source: Path) -> list[Path]:
    """The tar files of a folder, or those that its ``shard.list`` (or the file ``source`` itself) names."""
    listed = source / LIST if source.is_dir() else source
    if listed.is_file() and listed.suffix != ".tar":
        lines = [(number, line.strip()) for number, line in read_lines(listed) if line.strip()]
        for number, line in lines:
            refuse_leaving(line, f"{listed}:{number}")
        paths = [Path(line) for _, line in lines]
        paths = [path if path.is_absolute() else listed.parent / path for path in paths]
    else:
        paths = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    gone = [path for path in paths if not os.path.isfile(path)]
    if gone or not paths:
        raise UserError(f"{source}: {f'{gone[0]} is not there' if gone else 'holds no .tar'}: mend the path")
    return paths


def unpack_shards(source: Path, out: Path, nj: int = 1, say: Callable[[str], object] = print) -> int:
    """Write the audio of all shards to ``out/idNNNNN/VIDEO/NNNNN.EXT``, byte for byte; returns the number of files.

    Files of the right size that are there already stay, so an interrupted run goes on.

    :raises UserError: for a shard that is damaged, holds no audio of VoxCeleb's, or the same utterance as another.
    """
    shards = find_shards(source)
    with locked(make_dir(out), say):
        seen: dict[str, Path] = {}
        with threads(nj) as pool, Progress("unpacking shards", len(shards)) as progress:
            for shard, names in pool.imap_unordered(lambda path: (path, _unpack(path, out)), shards):
                for name in names:
                    if name in seen:
                        raise UserError(f"{shard}: {name} is also in {seen[name]}: remove one of the two")
                    seen[name] = shard
                progress.update()
        refuse_case_clash(list(seen), out)
    say(f"{out}: {len(seen)} files of {len(shards)} shards")
    return len(seen)


def _unpack(shard: Path, out: Path) -> list[str]:
    names: list[str] = []
    try:
        with os_errors(shard), tarfile.open(shard, "r:") as tar:
            for member, name in _audio_members(tar):
                target = out / name
                names.append(name)
                if target.is_file() and target.stat().st_size == member.size:
                    continue
                content = tar.extractfile(member)
                assert content is not None  # a plain file has content
                with atomic_open(target, "wb") as stream:
                    stream.write(content.read())
    except tarfile.TarError as error:
        raise UserError(f"{shard}: damaged or cut off ({error}): copy it again") from None
    if not names:
        raise UserError(f"{shard}: holds no audio of VoxCeleb's (members idNNNNN/VIDEO/NNNNN...): mend the path")
    return names


def _audio_members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Plain members that are audio of VoxCeleb's, and where they go; no other path is ever written to."""
    for member in tar:
        stem, extension = os.path.splitext(member.name)
        utterance = kaldi_id(os.path.splitext(stem)[0] if os.path.splitext(stem)[1].lower() in AUDIO else stem)
        if member.isfile() and extension.lower() in AUDIO and is_id(utterance) and "/" not in utterance:
            speaker, video = speaker_of(utterance), video_of(utterance)[8:]
            yield member, f"{speaker}/{video}/{utterance.rpartition('-')[2]}{extension.lower()}"
