"""Audio files below a folder: each folder once, whatever links there are, and what was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imlkd.corpora.recognise import ARCHIVE
from imlkd.errors import UserError
from imlkd.files import os_errors

AUDIO = frozenset({".wav", ".flac", ".m4a", ".aac", ".mp3", ".ogg", ".opus", ".sph"})
_LISTED = 3


@dataclass
class AudioTree:
    """A walk below ``root``; ``passed_over`` fills while ``files`` runs.

    Names are taken as the file system gives them, so any characters may be in them; only a line feed, which no table
    can hold, is refused. Links to folders are followed, each folder is visited once.

    :param passed_over: reason -> how many.
    :param examples: reason -> the first few paths.
    """

    root: Path
    passed_over: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, str]]:
        """(absolute path, path below ``root``) of every audio file, in no order.

        :raises UserError: when the folder is not there or can't be read, or a name holds a line feed or bytes that are
            no UTF-8.
        """
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder: mend the path")
        top = os.path.abspath(self.root)
        seen = {self._identity(top)}
        waiting, prefix = [top], len(top.rstrip("/")) + 1
        while waiting:
            folder = waiting.pop()
            links: list[str] = []
            with os_errors(folder), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):  # what other systems leave beside a file
                        self._pass("hidden file or folder", entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        self._enter(entry.path, seen, waiting)
                    elif entry.is_symlink() and entry.is_dir():
                        links.append(entry.path)
                    elif os.path.splitext(entry.name)[1].lower() not in AUDIO:
                        packed = ARCHIVE.fullmatch(entry.name) is not None
                        self._pass("archive, not unpacked" if packed else "no audio by its name", entry.path)
                    elif entry.is_symlink() and not entry.is_file():
                        self._pass("link to nothing", entry.path)
                    else:
                        yield _fit_for_tables(entry.path), entry.path[prefix:]
            for link in sorted(links, reverse=True):
                self._enter(link, seen, waiting)

    def _enter(self, folder: str, seen: set[tuple[int, int]], waiting: list[str]) -> None:
        identity = self._identity(folder)
        if identity in seen:
            self._pass("folder seen already, through a link", folder)
            return
        seen.add(identity)
        waiting.append(folder)

    @staticmethod
    def _identity(folder: str) -> tuple[int, int]:
        with os_errors(folder):
            status = os.stat(folder)
        return status.st_dev, status.st_ino

    def _pass(self, reason: str, path: str) -> None:
        self.passed_over[reason] += 1
        listed = self.examples.setdefault(reason, [])
        if len(listed) < _LISTED:
            listed.append(path)


def _fit_for_tables(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path!r}: its name is no UTF-8, no table can hold it: rename it (`convmv -t utf8`)") from None
    if "\n" in path or "\r" in path or path.endswith("|"):
        raise UserError(f"{path!r}: a line feed in a name or a bar at its end breaks tables: rename it")
    return path


def is_case_blind(folder: Path) -> bool:
    """Whether file names in ``folder`` (which exists) differ by more than letter case only: made out by a probe."""
    probe = folder / f".case_Probe.tmp{os.getpid()}"
    with os_errors(folder):
        probe.touch()
        try:
            return probe.with_name(probe.name.swapcase()).exists()
        finally:
            probe.unlink(missing_ok=True)


def refuse_case_clash(names: Iterable[str], folder: Path) -> None:
    """Refuse to write ``names`` into a ``folder`` that cannot tell two of them apart.

    YouTube's video names differ by letter case alone: on such a file system the second would overwrite the first.

    :raises UserError: naming the first two.
    """
    if not is_case_blind(folder):
        return
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{folder}: its file system takes {other} and {name} for the same: choose a folder on one that tells "
                "upper from lower case"
            )
