"""Kaldi's tables and arks: id-keyed text files, float32 vectors and matrices.

File contracts: sorted by the first field in C order, unique ids, one line feed at the end of each line;
``ark`` entries are ``key``, a space and a binary object, ``scp`` lines are ``key path:offset``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import atomic_open, os_errors

FloatArray = npt.NDArray[np.float32]


def read_lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); UserError on CRLF, NUL or bytes that are not UTF-8."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with os_errors(path), open(path, "rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.endswith(b"\r\n"):
                raise UserError(f"{path}:{number}: line ends with CRLF: convert the file (`sed -i 's/\\r$//' {path}`)")
            if b"\0" in raw:
                raise UserError(f"{path}:{number}: holds a NUL byte: this is not a text table")
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8: convert the file (`iconv -t UTF-8`)") from error
            yield number, line.rstrip("\n")


def read_table(
    path: Path | str, fields: int | None = None, unique: bool = True, sorted_ids: bool = True
) -> dict[str, str]:
    """Read ``id rest-of-line``.

    :param fields: how many white-space separated fields a line must have (the id included); None: two or more.
    :raises UserError: naming file and line, for an empty file or line, a missing field, a duplicate or unsorted id.
    """
    table: dict[str, str] = {}
    previous = ""
    for number, line in read_lines(path):
        key, _, rest = line.partition(" ") if "\t" not in line else _split_first(line)
        count = 1 + len(rest.split())
        if not key or not rest.strip():
            raise UserError(f"{path}:{number}: expected an id and a value, found {line[:60]!r}: mend the line")
        if fields is not None and count != fields:
            raise UserError(f"{path}:{number}: expected {fields} fields, found {count} (do ids hold white space?)")
        if unique and key in table:
            raise UserError(f"{path}:{number}: duplicate id {key}: keep one (utils/fix_data_dir.sh does)")
        if sorted_ids and key.encode() < previous.encode():
            raise UserError(f"{path}:{number}: {key} is not in C order: sort the file (`LC_ALL=C sort`)")
        table[key] = rest.strip()
        previous = key
    if not table:
        raise UserError(f"{path}: empty file: expected at least one line")
    return table


def _split_first(line: str) -> tuple[str, str, str]:
    parts = line.split(None, 1)
    return (parts[0] if parts else "", " ", parts[1] if len(parts) > 1 else "")


def sort_ids(ids: Any) -> list[str]:
    """Sort as ``LC_ALL=C sort`` does (by UTF-8 bytes)."""
    return sorted(ids, key=str.encode)


def write_table(path: Path | str, table: Mapping[str, str]) -> None:
    """Write ``id value`` lines in C order, atomically."""
    with atomic_open(path) as stream:
        stream.writelines(f"{key} {table[key]}\n" for key in sort_ids(table))


class ArkWriter:
    """Write float32 vectors or matrices as ``ark`` with its ``scp``; both appear complete, or not at all.

    Use as a context manager and call ``write(key, array)``. Paths in the scp are absolute, and its lines are in C
    order whatever the order of the calls.
    """

    def __init__(self, ark: Path | str, scp: Path | str) -> None:
        self.ark, self.scp = Path(ark).absolute(), Path(scp)
        self._places: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ArkWriter:
        # The ark is renamed before the scp: a scp never points into a file that isn't there.
        self._scp_stream = self._stack.enter_context(atomic_open(self.scp))
        self._ark_stream = self._stack.enter_context(atomic_open(self.ark, "wb"))
        return self

    def write(self, key: str, array: npt.ArrayLike) -> None:
        """Append one entry; ``array`` is 1-D or 2-D and finite."""
        from kaldiio.matio import write_array

        values = np.ascontiguousarray(array, dtype=np.float32)
        if values.ndim not in (1, 2):
            raise ValueError(f"{key}: expected a vector or a matrix, got shape {values.shape}")
        if not np.isfinite(values).all():
            raise UserError(f"{key}: holds NaN or infinite values: not written to {self.ark}")
        self._ark_stream.write(key.encode() + b" ")
        self._places[key] = f"{self.ark}:{self._ark_stream.tell()}"
        write_array(self._ark_stream, values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self._scp_stream.writelines(f"{key} {self._places[key]}\n" for key in sort_ids(self._places))
        return self._stack.__exit__(kind, error, trace)


def read_array(rxfilename: str) -> FloatArray:
    """Read one object given as ``path:offset``; UserError when the ark is missing, cut off or not an ark."""
    import kaldiio

    path = rxfilename.rpartition(":")[0] or rxfilename
    if rxfilename.rstrip().endswith("|"):
        raise UserError(f"{rxfilename}: pipes are not read here: copy the arrays to an ark first")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such ark: run the stage that writes it again")
    try:
        array = kaldiio.load_mat(rxfilename)
    except Exception as error:  # kaldiio raises whatever its parser meets on damaged bytes
        raise UserError(f"{rxfilename}: not a readable Kaldi object (cut off or damaged): make it again") from error
    return np.array(array, dtype=np.float32)


def read_scp_arrays(scp: Path | str) -> dict[str, FloatArray]:
    """Read every array of a scp into memory, in the order of the file."""
    return {key: read_array(value) for key, value in read_table(scp, fields=2).items()}


def join_scps(parts: list[Path], joined: Path | str) -> int:
    """Concatenate the scp files of parallel jobs into one in C order; returns the number of entries."""
    table: dict[str, str] = {}
    for part in parts:
        for key, value in read_table(part, fields=2).items():
            if key in table:
                raise UserError(f"{part}: {key} is already in another job's scp: remove the folder and run again")
            table[key] = value
    write_table(joined, table)
    return len(table)


