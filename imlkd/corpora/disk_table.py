"""Sorted tables that stay on the disk: a corpus of a million utterances costs eight bytes a line, not a dictionary.

For what is read again and again while a network trains. Tables come from stages that have checked them: here a line is
looked at when it is wanted.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import os_errors

Indices = npt.NDArray[np.integer]
_BLOCK = 1 << 20  # bytes
_LINES = 10000
_KEPT = 4096  # keys of a table
_NO_LINE = (-1, ("", ""))


class DiskTable(Mapping[str, str]):
    """``id rest-of-line``, as ``read_table`` reads it; looking an id up takes some twenty reads of a line.

    The file may be replaced meanwhile (by renaming): the one that was opened is read on.

    :raises UserError: for a file that is not there or empty; later for a line without a value.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with os_errors(self.path):
            self._file = open(self.path, "rb")  # noqa: SIM115  (as long as the table)
            self._starts = _line_starts(self._file.fileno())
        self._keys: dict[int, bytes] = {}
        if len(self._starts) < 2:
            raise UserError(f"{self.path}: empty file: expected at least one line")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.lines())

    def __getitem__(self, key: str) -> str:
        place = self.place(key)
        if place is None:
            raise KeyError(key)
        return self.line(place)[1]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.place(key) is not None

    def place(self, key: str) -> int | None:
        """The number of the line that begins with ``key``, from 0; None when there is none."""
        wanted = key.encode()
        place = bisect.bisect_left(range(len(self)), wanted, key=self._key)
        return place if place < len(self) and self._key(place) == wanted else None

    def line(self, number: int) -> tuple[str, str]:
        """Id and value of a line."""
        parts = self._raw(number).decode().split(maxsplit=1)
        if len(parts) != 2:
            raise self._problem(" ".join(parts))
        return parts[0], parts[1].rstrip()

    def lines(self) -> Iterator[tuple[str, str]]:
        """(id, value) of every line, in the file's order."""
        for line in self._texts():
            try:
                key, value = line.split(maxsplit=1)
            except ValueError:
                raise self._problem(line) from None
            yield key, value.rstrip()

    def _texts(self) -> Iterator[str]:
        """Every line, a block decoded at a time; by number, not by the file's position, which processes share."""
        for first in range(0, len(self), _LINES):
            block = self._between(first, min(first + _LINES, len(self))).decode()
            yield from block.removesuffix("\n").split("\n")

    def _between(self, first: int, last: int) -> bytes:
        start, end = int(self._starts[first]), int(self._starts[last])
        return os.pread(self._file.fileno(), end - start, start)

    def _raw(self, number: int) -> bytes:
        return self._between(number, number + 1)

    def _key(self, number: int) -> bytes:
        """Of a line; the first ones asked for are kept, among them those that every search begins with."""
        key = self._keys.get(number)
        if key is None:
            key = self._raw(number).split(maxsplit=1)[0]
            if len(self._keys) < _KEPT:
                self._keys[number] = key
        return key

    def _problem(self, line: str) -> UserError:
        return UserError(f"{self.path}: expected an id and a value, found {line[:60]!r}: make the table again")


def _line_starts(descriptor: int) -> npt.NDArray[np.int64]:
    """Where every line begins, and where the last ends."""
    ends, offset = [], 0
    while block := os.pread(descriptor, _BLOCK, offset):
        ends.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (offset + 1))
        offset += len(block)
    if offset and (not ends or not len(ends[-1]) or ends[-1][-1] != offset):
        ends.append(np.array([offset]))  # a last line without its end
    return np.concatenate([np.zeros(1, np.int64), *ends]).astype(np.int64)


class DiskIds(Sequence[str]):
    """The ids of a ``DiskTable`` by number, or those at some ascending ``places`` of it."""

    def __init__(self, table: DiskTable, places: Indices | None = None) -> None:
        self.table, self.places = table, places

    def __len__(self) -> int:
        return len(self.table) if self.places is None else len(self.places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self.table.line(number if self.places is None else int(self.places[number]))[0]

    def __iter__(self) -> Iterator[str]:
        if self.places is None:
            yield from self.table
            return
        wanted = iter(self.places.tolist())
        following = next(wanted, None)
        for place, (key, _) in enumerate(self.table.lines()):
            if place == following:
                yield key
                following = next(wanted, None)

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The number of an id; ValueError when it is none of these."""
        place = self.table.place(value)
        if place is not None and self.places is not None:
            number = int(np.searchsorted(self.places, place))
            place = number if number < len(self.places) and self.places[number] == place else None
        if place is None or place not in range(*slice(start, stop).indices(len(self))):
            raise ValueError(f"{value} is not among the ids")
        return place


class ByName(Mapping[str, int]):
    """A whole number for each of ``names``, in an array."""

    def __init__(self, names: Sequence[str], values: Indices) -> None:
        self.names, self.array = names, values

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, key: str) -> int:
        try:
            return int(self.array[self.names.index(key)])
        except ValueError:
            raise KeyError(key) from None


def values_along(table: DiskTable, names: Iterable[str]) -> Iterator[str | None]:
    """The value of each of ``names``, which are in the table's order; None where it has no such id."""
    return (None if found is None else found[1] for found in lines_along(table, names))


def lines_along(table: DiskTable, names: Iterable[str]) -> Iterator[tuple[int, str] | None]:
    """The number of each one's line, from 0, and its value."""
    lines = enumerate(table.lines())
    number, (key, value) = next(lines, _NO_LINE)
    for name in names:
        while number >= 0 and key != name and key.encode() < name.encode():
            number, (key, value) = next(lines, _NO_LINE)
        if number >= 0 and key == name:
            yield number, value
            number, (key, value) = next(lines, _NO_LINE)
        else:
            yield None
