"""What stage 3 left of each segment, read when a batch needs it: a training's memory does not grow with its targets."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imlkd.corpora.disk_table import DiskTable, lines_along
from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray, OpenArks
from imlkd.training.sampling import Indices

_EVERY = 64  # arrays, after which the pages that were read are let go


class StoredArrays:
    """Arrays of a ``scp`` by number; twelve bytes of each are held, the number and the place of its line.

    :param places: the lines of ``table`` that count, in order.
    """

    def __init__(self, table: DiskTable, places: Indices) -> None:
        self._table, self._places = table, places
        self._arks, self._read = OpenArks(), 0

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> FloatArray:
        found = self._arks.read(self._table.line(int(self._places[number]))[1])
        self._read += 1
        if self._read % _EVERY == 0:
            self._arks.forget()
        return found

    def rows(self, chosen: Indices) -> Tensor:
        """(B, ...) of numbers whose arrays are of one shape."""
        arrays = [self[number] for number in chosen.tolist()]
        shapes = {one.shape for one in arrays}
        if len(shapes) > 1:
            scp = self._table.path
            raise UserError(f"{scp}: holds arrays of {len(shapes)} shapes for one batch: run stage 3 again")
        return torch.from_numpy(np.stack(arrays))


def stored_arrays(scps: Sequence[Path], names: Iterable[str], what: str = "segments") -> list[StoredArrays]:
    """The arrays of ``names``, which are in C order, of each scp; one walk along all of them.

    :param what: names are called in messages.
    :raises UserError: when a scp lacks some of them, or an ark that it names is not there.
    """
    tables = [DiskTable(scp) for scp in scps]
    walks = [_Walk(table) for table in tables]
    asked, *streams = itertools.tee(names, 1 + len(tables))
    columns = [lines_along(table, stream) for table, stream in zip(tables, streams, strict=True)]
    for name, *lines in zip(asked, *columns, strict=True):
        for walk, line in zip(walks, lines, strict=True):
            walk.add(name, line)
    return [StoredArrays(walk.table, walk.places(what)) for walk in walks]


class _Walk:
    """What is found along a scp."""

    def __init__(self, table: DiskTable) -> None:
        self.table = table
        self._lines, self._lacking = array("i"), list[str]()
        self._arks: dict[str, str] = {}

    def add(self, name: str, line: tuple[int, str] | None) -> None:
        """Note the line of a name; None: it has none."""
        if line is None:
            self._lacking.append(name)
        else:
            self._lines.append(line[0])
            self._arks.setdefault(line[1].rpartition(":")[0], line[1])

    def places(self, what: str) -> Indices:
        """The lines of all names, when each has one and their arks are there."""
        if self._lacking:
            count, first = len(self._lacking), self._lacking[0]
            raise UserError(f"{self.table.path}: lacks {count} {what} (first: {first}): run stage 3 again")
        with OpenArks() as arks:
            for place in self._arks.values():
                arks.read(place)  # an ark that is gone stops the training before its first step
        return np.frombuffer(self._lines, np.int32)
