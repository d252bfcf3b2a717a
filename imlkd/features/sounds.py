"""Collections of noise, music, voices and room impulse responses: where they lie, and pieces of them.

A collection is a folder (MUSAN and RIRS_NOISES are told by their own folders), a Kaldi ``wav.scp``, a plain list of
paths, or a Lhotse manifest of recordings or cuts. Names are read at once, audio when a piece is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from imlkd.corpora.audio import AudioProblem, Source, named, open_audio
from imlkd.corpora.audio_tree import AudioTree
from imlkd.corpora.kaldi_dir import is_manifest
from imlkd.corpora.lhotse.cuts import manifest_lines
from imlkd.corpora.lhotse.storages import refuse_leaving
from imlkd.errors import UserError
from imlkd.files import parse_json
from imlkd.kaldi_io import read_lines

Samples = npt.NDArray[np.float32]
KINDS = ("noise", "music", "voice", "rir")
# A folder of this name in the path tells the kind; MUSAN's and RIRS_NOISES' names first.
_FOLDERS = {
    "music": "music", "speech": "voice", "voice": "voice", "noise": "noise", "noises": "noise",
    "pointsource_noises": "noise", "simulated_rirs": "rir", "rir": "rir", "rirs": "rir",
}  # fmt: skip
_MIXED = "real_rirs_isotropic_noises"  # RIRS_NOISES: both in one folder, told by the name


@dataclass
class Sounds:
    """Files by kind, and pieces of them.

    :param sample_rate: Hz, the only one accepted.
    :param files: kind -> paths, sorted.
    """

    sample_rate: int
    files: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, where: Path, kind: str | None = None) -> None:
        """Take in a collection.

        :param kind: of all its files; None: told by the folders, noise where nothing tells.
        :raises UserError: when it is not there or holds no audio.
        """
        paths = sorted(set(_paths_of(where)))
        if not paths:
            raise UserError(f"{where}: no audio is in it: give MUSAN, RIRS_NOISES, a folder, wav.scp, list or manifest")
        for path in paths:
            self.files[kind or kind_of(path)].append(path)

    def piece(self, kind: str, samples: int, random: np.random.Generator) -> Samples:
        """(samples,) of a file drawn, from a place drawn; a shorter one is repeated.

        :raises UserError: when there is none of this kind, or its audio can't be used.
        """
        path = self._draw(kind, random)
        with open_audio(self._source(path)) as file:
            self._check_rate(path, file.samplerate)
            first = int(random.integers(0, max(1, file.frames - samples + 1)))
            file.seek(first)
            found = file.read(min(samples, file.frames), dtype="float32", always_2d=True)[:, 0]
        found = self._finite(path, found)
        return found if len(found) == samples else np.resize(found, samples)

    def response(self, random: np.random.Generator) -> Samples:
        """A room impulse response drawn, channel 0, from its direct sound on."""
        path = self._draw("rir", random)
        with open_audio(self._source(path)) as file:
            self._check_rate(path, file.samplerate)
            found = self._finite(path, file.read(dtype="float32", always_2d=True)[:, 0])
        start: Samples = found[int(np.abs(found).argmax()) :]
        if not np.any(start):
            raise UserError(f"{path}: a silent room impulse response: remove it")
        return start

    def _draw(self, kind: str, random: np.random.Generator) -> str:
        paths = self.files[kind]
        if not paths:
            raise UserError(f"augment: no {kind} is there: name a collection that has some, or set its share to 0")
        return paths[int(random.integers(len(paths)))]

    def _source(self, path: str) -> Source:
        return Source(path, path, False, "augment")

    def _check_rate(self, path: str, sample_rate: int) -> None:
        if sample_rate != self.sample_rate:
            raise AudioProblem(
                named(self._source(path)), f"sampled at {sample_rate} Hz, the speech at {self.sample_rate} Hz",
                f"resample the collection (`sox IN -r {self.sample_rate} OUT`)",
            )  # fmt: skip

    def _finite(self, path: str, samples: Samples) -> Samples:
        if not len(samples) or not np.isfinite(samples).all():
            raise UserError(f"{path}: no samples, or NaN or infinite ones: remove it")
        return samples


def kind_of(path: str) -> str:
    """The kind that a path's folders tell, noise where none does."""
    pure = PurePath(path)
    for part in reversed([part.lower() for part in pure.parts[:-1]]):
        if part == _MIXED:
            return "noise" if "noise" in pure.stem.lower() else "rir"
        if part in _FOLDERS:
            return _FOLDERS[part]
    return "noise"


def _paths_of(where: Path) -> list[str]:
    if where.is_dir() and not (where / "wav.scp").is_file():
        return [path for path, _ in AudioTree(where).files()]
    if not where.exists():
        raise UserError(f"{where}: no such collection of sounds: mend the path")
    table = where / "wav.scp" if where.is_dir() else where
    return _of_manifest(table) if is_manifest(table) else _of_table(table)


def _of_table(table: Path) -> list[str]:
    """Paths of ``ID PATH`` or ``PATH`` lines; relative ones lie beside the table, above it, or where one works."""
    bases = [table.absolute().parent.parent, table.absolute().parent, Path.cwd()]
    found: list[str] = []
    for number, line in read_lines(table):
        value = line.strip()
        if table.name.endswith(".scp"):
            value = value.partition(" ")[2].strip()
        if not value or value.endswith("|"):
            raise UserError(f"{table}:{number}: expected a path, found {line[:60]!r}: mend the line")
        found.append(value if value.startswith("/") else str(_base(value, bases) / value))
    return found


def _base(value: str, bases: list[Path]) -> Path:
    exists: Callable[[Path], bool] = lambda base: os.path.isfile(base / value)  # noqa: E731
    return next(filter(exists, bases), bases[-1])


def _of_manifest(path: Path) -> list[str]:
    """Files of a manifest of recordings or cuts."""
    found: list[str] = []
    for number, line in manifest_lines(path):
        try:
            item = parse_json(line)
            (source,) = item.get("recording", item)["sources"]
            found.append(os.fspath(source["source"]))
            refuse_leaving(found[-1], f"{path}:{number}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}:{number}: no recording or cut with one source: mend the line") from error
    return found
