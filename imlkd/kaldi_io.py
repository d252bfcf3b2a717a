"""Kaldi's tables and arks: id-keyed text files, float32 vectors and matrices.

File contracts: sorted by the first field in C order, unique ids, one line feed at the end of each line;
``ark`` entries are ``key``, a space and a binary object, ``scp`` lines are ``key path:offset``.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import atomic_open, os_errors

FloatArray = npt.NDArray[np.float32]


def read_lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); UserError on CRLF, NUL, a byte order mark, or no UTF-8."""
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file False for a name that is too long
        raise UserError(f"{path}: no such file")
    with os_errors(path), open(path, "rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.endswith(b"\r\n"):
                raise UserError(f"{path}:{number}: line ends with CRLF: convert the file (`sed -i 's/\\r$//' {path}`)")
            if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                raise UserError(f"{path}:1: begins with a byte order mark: remove it (`sed -i '1s/^...//'`)")
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
        key, rest = [*re.split(r"[ \t]", line, maxsplit=1), ""][:2]
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

    def __enter__(self) -> ArkWriter:
        with contextlib.ExitStack() as stack:
            # Left in reverse: the scp is written, then the ark renamed, then the scp, which thus never points into a
            # file that isn't there.
            self._scp_stream = stack.enter_context(atomic_open(self.scp))
            self._ark_stream = stack.enter_context(atomic_open(self.ark, "wb"))
            stack.push(self._write_scp)
            self._stack = stack.pop_all()
        return self

    def write(self, key: str, array: npt.ArrayLike) -> None:
        """Append one entry; ``array`` is 1-D or 2-D and finite, ``key`` new and without white space."""
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is refused
            values = np.ascontiguousarray(array, dtype="<f4")
        if values.ndim not in (1, 2):
            raise ValueError(f"{key}: expected a vector or a matrix, got shape {values.shape}")
        if key in self._places or not key or re.search(r"[ \t-\r]", key):
            raise ValueError(f"{key!r}: written before, empty, or holds white space: no key of an ark")
        if not np.isfinite(values).all():
            raise UserError(f"{key}: holds NaN or infinite values: not written to {self.ark}")
        self._ark_stream.write(key.encode() + b" ")
        self._places[key] = f"{self.ark}:{self._ark_stream.tell()}"
        sizes = b"".join(b"\4" + struct.pack("<i", size) for size in values.shape)
        self._ark_stream.write((b"\0BFV " if values.ndim == 1 else b"\0BFM ") + sizes + values.tobytes())

    def _write_scp(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._scp_stream.writelines(f"{key} {self._places[key]}\n" for key in sort_ids(self._places))
            self._scp_stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


_PLACE = re.compile(r"(?P<path>.+?)(?::(?P<offset>\d+))?(?:\[(?P<part>[\d:,]*)\])?", re.DOTALL)
_PLAIN = {b"FV": ("<f4", 1), b"FM": ("<f4", 2), b"DV": ("<f8", 1), b"DM": ("<f8", 2)}
_COMPRESSED = {b"CM": (1, 8), b"CM2": (2, 0), b"CM3": (1, 0)}  # bytes of a value, bytes of a column's header


def read_array(rxfilename: str) -> FloatArray:
    """Read one object given as ``path:offset``, as float32; Kaldi's ranges ``[first:last,first:last]`` may follow.

    Plain float and double objects are read here; compressed ones and text need the package kaldiio.

    :raises UserError: when the ark is missing, cut off or not an ark.
    """
    match = _PLACE.fullmatch(rxfilename.strip())
    if match is None or "|" in (rxfilename.strip()[0], rxfilename.strip()[-1]):
        raise UserError(f"{rxfilename}: expected PATH:OFFSET, pipes are not read: copy the arrays to an ark first")
    path = Path(match["path"])
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such ark: run the stage that writes it again")
    try:
        with os_errors(path), open(path, "rb") as stream:
            array = _read_object(stream, int(match["offset"] or 0))
        return np.array(_part_of(array, match["part"]), dtype=np.float32)
    except (ValueError, struct.error) as error:
        why = "cut off or damaged" if isinstance(error, struct.error) else error  # a header that goes on past the end
        raise UserError(f"{rxfilename}: not a readable Kaldi object ({why}): make it again") from error


def _read_object(stream: BinaryIO, offset: int) -> npt.NDArray[Any]:
    """The object at ``offset``; ValueError or struct.error when there is none, or not all of it."""
    left = os.fstat(stream.fileno()).st_size - offset
    if left <= 0:
        raise ValueError(f"cut off: the file has {left + offset} bytes")
    stream.seek(offset)
    head = stream.read(22)  # no header is longer
    if head[:1] == b"\0" and left < 6:
        raise ValueError("cut off or damaged")
    binary, kind = head[:2] == b"\0B", head[2:6].partition(b" ")[0]
    if binary and kind in _PLAIN:
        dtype, dimensions = _PLAIN[kind]
        header = struct.unpack_from("<" + "ci" * dimensions, head, 5)
        sizes = header[1::2]
        if set(header[::2]) != {b"\4"}:
            raise ValueError("damaged header")
        bytes_of = math.prod(sizes) * int(dtype[2])
        _check_size(sizes, 5 + 5 * dimensions + bytes_of, left)
        stream.seek(offset + 5 + 5 * dimensions)
        return np.frombuffer(stream.read(bytes_of), dtype).reshape(sizes)
    if binary and kind in _COMPRESSED:
        value, column = _COMPRESSED[kind]
        sizes = struct.unpack_from("<ii", head, len(kind) + 11)
        _check_size(sizes, len(kind) + 19 + sizes[1] * column + math.prod(sizes) * value, left)
    elif not re.match(rb"\s*[-+.\d\[]", head):  # pickled objects, which kaldiio would run, are none of these
        raise ValueError("neither a float vector or matrix nor text")
    from kaldiio.matio import read_kaldi

    stream.seek(offset)
    try:
        return np.asarray(read_kaldi(stream), dtype=np.float32)
    except Exception as error:  # kaldiio raises whatever its parser meets on damaged bytes
        raise ValueError("cut off or damaged") from error


def _check_size(sizes: tuple[int, ...], needed: int, left: int) -> None:
    if min(sizes) < 0 or needed > left:
        raise ValueError(f"cut off or damaged: its header says {' x '.join(map(str, sizes))}, {left} bytes are left")


def _part_of(array: npt.NDArray[Any], part: str | None) -> npt.NDArray[Any]:
    """Kaldi's ranges of rows and columns, both ends inclusive; an empty one, or ``:``, is everything."""
    ranges = [text.split(":") for text in part.split(",")] if part else []
    if len(ranges) > array.ndim:
        raise ValueError(f"{len(ranges)} ranges of {array.ndim} dimensions")
    for axis, ends in enumerate(ranges):
        if any(ends):
            first, last = int(ends[0]), int(ends[-1])
            if not first <= last < array.shape[axis]:
                raise ValueError(f"range {first}:{last} of {array.shape[axis]}")
            array = array[first : last + 1] if axis == 0 else array[:, first : last + 1]
    return array


def read_scp_arrays(scp: Path | str) -> dict[str, FloatArray]:
    """Read every array of a scp into memory, in the order of the file; an ark that many lie in is opened once."""
    with OpenArks() as arks:
        return {key: arks.read(value) for key, value in read_table(scp, fields=2).items()}


class OpenArks:
    """Plain float vectors and matrices out of arks that stay mapped; all else goes through ``read_array``."""

    def __init__(self) -> None:
        self._maps: dict[str, mmap.mmap | None] = {}

    def __enter__(self) -> OpenArks:
        return self

    def __exit__(self, *_: object) -> None:
        for mapped in self._maps.values():
            if mapped is not None:
                mapped.close()

    def read(self, rxfilename: str) -> FloatArray:
        """See ``read_array``."""
        path, _, offset = rxfilename.rpartition(":")
        mapped = self._mapped(path) if offset.isdecimal() and len(offset) < 20 else None
        found = None if mapped is None else _plain_floats(mapped, int(offset))
        return read_array(rxfilename) if found is None else found

    def forget(self) -> None:
        """Let go of the pages that were read; they come back when they are wanted."""
        for mapped in self._maps.values():
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, path: str) -> mmap.mmap | None:
        if path not in self._maps:
            self._maps[path] = None
            with contextlib.suppress(OSError, ValueError), open(path, "rb") as stream:  # read_array says what is wrong
                self._maps[path] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


def _plain_floats(content: mmap.mmap, offset: int) -> FloatArray | None:
    """The float vector or matrix at ``offset``; None when it is something else, or not all of it is there."""
    head = content[offset : offset + 15]
    sizes: tuple[int, ...]
    if head[:6] == b"\0BFV \4" and len(head) >= 10:
        sizes, start = struct.unpack_from("<i", head, 6), offset + 10
    elif head[:5] == b"\0BFM " and len(head) == 15 and head[5:6] == head[10:11] == b"\4":
        sizes, start = (*struct.unpack_from("<i", head, 6), *struct.unpack_from("<i", head, 11)), offset + 15
    else:
        return None
    count = math.prod(sizes)
    if min(sizes) < 0 or start + 4 * count > len(content):
        return None
    return np.frombuffer(content[start : start + 4 * count], "<f4").reshape(sizes).astype(np.float32)


def join_scps(parts: list[Path], joined: Path | str) -> int:
    """Concatenate the scp files of parallel jobs into one in C order; returns the number of entries.

    A job that had nothing to do leaves an empty file.
    """
    table: dict[str, str] = {}
    for part in parts:
        if part.is_file() and not part.stat().st_size:
            continue
        for key, value in read_table(part, fields=2).items():
            if key in table:
                raise UserError(f"{part}: {key} is already in another job's scp: remove the folder and run again")
            table[key] = value
    if not table:
        raise UserError(f"{joined}: none of the {len(parts)} jobs left an entry: run the stage again")
    write_table(joined, table)
    return len(table)


