"""m4a files to FLAC: in parallel, resumable, with checksums of what was read and what was written."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from imlkd.corpora.audio_tree import AudioTree, refuse_case_clash
from imlkd.corpora.folders import locked
from imlkd.corpora.m4a import M4aProblem, decode_m4a, find_tool, is_m4a, wav_bytes
from imlkd.corpora.threads import threads
from imlkd.corpora.voxceleb.names import is_id, kaldi_id
from imlkd.corpora.voxceleb.sources import below_test
from imlkd.errors import UserError
from imlkd.files import atomic_open, atomic_write_text, make_dir, os_errors, sha256_file
from imlkd.progress import Progress

JOURNAL, BAD_FILE = "converted.tsv", "bad.txt"
_FIELDS = 7
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Done:
    """A line of the journal: a FLAC file below the folder, what it was made from, and checksums of both."""

    flac: str
    source: str
    size: int
    mtime_ns: int
    source_sha256: str
    flac_sha256: str
    samples: int

    def line(self) -> str:
        """Fields separated by tabs."""
        return (
            f"{self.flac}\t{self.source}\t{self.size}\t{self.mtime_ns}\t{self.source_sha256}\t{self.flac_sha256}\t"
            f"{self.samples}\n"
        )


@dataclass(frozen=True)
class Converted:
    """How many files were made now, were there already, and could not be decoded."""

    made: int
    kept: int
    bad: list[tuple[str, str]]


def convert_m4a(
    sources: Sequence[Path], out: Path, nj: int = 1, max_bad: float = 0.0, sample_rate: int = 16000,
    tool: str = "auto", verify: bool = False, say: Any = print,
) -> Converted:  # fmt: skip
    """Convert every m4a below ``sources`` to ``out/dev|test/idNNNNN/VIDEO/NNNNN.flac``; other names keep their folders.

    An interrupted run goes on where it was: what ``out/converted.tsv`` names, with a source of unchanged size and
    date, stays. Each FLAC is decoded again and compared before it is put in place.

    :param max_bad: share of the files that may be bad; they are listed in ``out/bad.txt``.
    :param verify: compare the checksum of every FLAC that is there already.
    :raises UserError: when there is no m4a, more is bad, the disk is full, or the file system would mix up two names.
    """
    tool = find_tool(tool)
    make_dir(out)
    with locked(out, say):
        planned = _plan(sources)
        if not planned:
            raise UserError(f"{', '.join(map(str, sources))}: no .m4a below: there is nothing to convert")
        refuse_case_clash(planned, out)
        kept = _still_good(read_journal(out), planned, out, verify, say)
        todo = [(name, source) for name, source in planned.items() if name not in kept]
        bad: list[tuple[str, str]] = []
        with _journal(out, kept.values()) as journal, threads(nj) as pool:
            results = pool.imap_unordered(lambda task: _convert(*task, out, sample_rate, tool), todo)
            with Progress("converting m4a", len(todo)) as progress:
                for done in results:
                    if isinstance(done, Done):
                        journal.write(done.line())
                        journal.flush()
                    else:
                        bad.append(done)
                    progress.update()
        atomic_write_text(out / BAD_FILE, "".join(f"{source} {what}\n" for source, what in sorted(bad)))
        say(f"{out}: {len(todo) - len(bad)} converted by {tool}, {len(kept)} there already, {len(bad)} bad")
        _refuse_bad(bad, len(planned), max_bad, out)
        return Converted(len(todo) - len(bad), len(kept), bad)


def _plan(sources: Iterable[Path]) -> dict[str, str]:
    """Name of the FLAC -> source, of every m4a."""
    planned: dict[str, str] = {}
    for name, path in _flac_names(sources):
        if planned.setdefault(name, path) != path:
            raise UserError(f"{path}: would become {name}, as does {planned[name]}: keep one of the two")
    return planned


def _flac_names(sources: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for path, below in AudioTree(source).files():
            if not is_m4a(path):
                continue
            name = below.rpartition(".")[0]
            if is_id(kaldi_id(path)):
                parts = path.rpartition(".")[0].split("/")[-3:]
                name = "/".join(["test" if below_test(path) else "dev", *parts])
            if "\t" in path:
                raise UserError(f"{path}: a tab in a name breaks the journal: rename it")
            yield f"{name}.flac", path


def read_journal(out: Path) -> dict[str, Done]:
    """The journal by names of FLAC files; a last line that a killed run left half written doesn't count."""
    path = out / JOURNAL
    if not path.is_file():
        return {}
    found: dict[str, Done] = {}
    with os_errors(path):
        lines = path.read_bytes().split(b"\n")[:-1]
    for raw in lines:
        fields = raw.decode(errors="replace").split("\t")
        with contextlib.suppress(ValueError):
            if len(fields) == _FIELDS:
                one = Done(fields[0], fields[1], int(fields[2]), int(fields[3]), fields[4], fields[5], int(fields[6]))
                found[one.flac] = one
    return found


def _still_good(known: dict[str, Done], planned: dict[str, str], out: Path, verify: bool, say: Any) -> dict[str, Done]:
    good: dict[str, Done] = {}
    for name, one in known.items():
        path = out / name
        if planned.get(name) != one.source or not path.is_file():
            continue
        with os_errors(one.source):
            status = os.stat(one.source)
        if (status.st_size, status.st_mtime_ns) != (one.size, one.mtime_ns):
            say(f"{one.source}: changed since it was converted: again")
        elif verify and sha256_file(path) != one.flac_sha256:
            say(f"{path}: damaged since it was made: again")
        else:
            good[name] = one
    return good


@contextlib.contextmanager
def _journal(out: Path, known: Iterable[Done]) -> Iterator[IO[str]]:
    """The journal with the lines that hold, open for more; sorted at the end."""
    path = out / JOURNAL
    with atomic_open(path) as stream:
        stream.writelines(one.line() for one in known)
    with os_errors(path), open(path, "a", encoding="utf-8") as stream:
        yield stream
    done = read_journal(out)
    atomic_write_text(path, "".join(done[name].line() for name in sorted(done)))


def _convert(name: str, source: str, out: Path, sample_rate: int, tool: str) -> Done | tuple[str, str]:
    try:
        samples, rate = decode_m4a(source, sample_rate, tool)
    except M4aProblem as problem:
        return source, str(problem)
    content = wav_bytes(samples, rate, "FLAC")
    _check(content, samples, source)
    target = out / name
    with atomic_open(target, "wb") as stream:
        stream.write(content)
    with os_errors(source):
        status = os.stat(source)
    digest = hashlib.sha256(content).hexdigest()
    return Done(name, source, status.st_size, status.st_mtime_ns, sha256_file(source), digest, len(samples))


def _check(content: bytes, samples: Any, source: str) -> None:
    import io

    import soundfile

    again, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    if not np.array_equal(again, samples):
        raise UserError(f"{source}: the FLAC made of it decodes to other samples: report this with the file")


def _refuse_bad(bad: list[tuple[str, str]], total: int, max_bad: float, out: Path) -> None:
    if len(bad) > max_bad * total:
        listed = "; ".join(f"{source}: {what}" for source, what in sorted(bad)[:_LISTED])
        raise UserError(
            f"{len(bad)} of {total} m4a files are bad (all in {out / BAD_FILE}): {listed}: copy them again, or go on "
            "without them with --max-bad 0.1%; the others are converted"
        )
