"""Kaldi's files of a PLDA back-end: ``plda``, ``transform.mat`` and ``mean.vec``, binary or text.

Binary: ``\\0B``, then objects; a vector is ``FV `` or ``DV ``, a size and the values, a matrix ``FM `` or ``DM ``, two
sizes and the values row by row; a size is ``\\4`` and an int32; all little endian. Text: ``[ 1 2 3 ]``, for a matrix
one row a line. A ``plda`` is the token ``<Plda>``, mean, transform and psi in double precision, ``</Plda>``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imlkd.errors import UserError
from imlkd.files import atomic_open, os_errors
from imlkd.scoring.metrics import Floats
from imlkd.scoring.plda import Plda

_KINDS = {b"FV": ("<f4", 1), b"FM": ("<f4", 2), b"DV": ("<f8", 1), b"DM": ("<f8", 2)}


def read_plda(path: Path | str) -> Plda:
    """Read Kaldi's ``plda``.

    :raises UserError: when it is missing, cut off, no PLDA, not finite, or its parts do not fit each other.
    """
    reader = _Reader(Path(path))
    reader.token("<Plda>")
    mean, transform, psi = reader.array(1), reader.array(2), reader.array(1)
    reader.token("</Plda>")
    reader.end()
    dim = len(mean)
    if transform.shape != (dim, dim) or psi.shape != (dim,) or not dim:
        raise UserError(
            f"{path}: damaged: mean, transform and psi have shapes {mean.shape}, {transform.shape}, {psi.shape}"
        )
    if (psi < 0).any() or np.linalg.matrix_rank(transform) < dim:
        raise UserError(f"{path}: damaged: a variance below 0, or a transform that cannot be inverted: fit it again")
    return Plda(mean, transform, psi)


def write_plda(path: Path | str, plda: Plda, text: bool = False) -> None:
    """Write Kaldi's ``plda`` atomically, in double precision; as text, with as many digits as that takes."""
    parts = (plda.mean, plda.transform, plda.psi)
    with atomic_open(path, "wb") as stream:
        if text:
            stream.write(b"<Plda> " + b"".join(map(_as_text, parts)) + b"</Plda> ")
        else:
            stream.write(b"\0B<Plda> " + b"".join(_as_binary(part, "<f8") for part in parts) + b"</Plda> ")


def read_vector(path: Path | str) -> Floats:
    """Read a file of one vector, as ``mean.vec``; UserError when it is missing, damaged or not finite."""
    return _read_alone(Path(path), 1)


def read_matrix(path: Path | str) -> Floats:
    """Read a file of one matrix, as ``transform.mat``; UserError when it is missing, damaged or not finite."""
    return _read_alone(Path(path), 2)


def write_array(path: Path | str, array: Floats) -> None:
    """Write a file of one vector or matrix, atomically, binary and in single precision as Kaldi's programs do."""
    with atomic_open(path, "wb") as stream:
        stream.write(b"\0B" + _as_binary(array, "<f4"))


def _read_alone(path: Path, dimensions: int) -> Floats:
    reader = _Reader(path)
    array = reader.array(dimensions)
    reader.end()
    return array


def _as_binary(array: Floats, dtype: str) -> bytes:
    kind = {value: key for key, value in _KINDS.items()}[(dtype, array.ndim)]
    sizes = b"".join(b"\4" + struct.pack("<i", size) for size in array.shape)
    return kind + b" " + sizes + np.ascontiguousarray(array, dtype=dtype).tobytes()


def _as_text(array: Floats) -> bytes:
    rows = [" ".join(map(repr, row)) for row in np.atleast_2d(array).tolist()]
    body = f" [ {rows[0]} ]\n" if array.ndim == 1 else " [" + "".join(f"\n  {row} " for row in rows) + "]\n"
    return body.encode()


class _Reader:
    """Takes tokens and arrays off the front of a file, which is read as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"{path}: no such file: fit the back-end first (`imlkd plda fit`), or mend the path")
        with os_errors(path):
            self.content = path.read_bytes()
        self.binary = self.content[:2] == b"\0B"
        self.place = 2 if self.binary else 0

    def token(self, expected: str) -> None:
        """Take ``expected`` and the white space around it."""
        if not self.binary:
            self._skip_space()
        end = self.place + len(expected)
        if self.content[self.place : end] != expected.encode() or self.content[end : end + 1] not in (b" ", b"\n"):
            raise self._error(f"expected {expected}")
        self.place = end + 1

    def array(self, dimensions: int) -> Floats:
        """Take a vector (1) or a matrix (2), as float64."""
        array = self._binary_array(dimensions) if self.binary else self._text_array(dimensions)
        if not np.isfinite(array).all():
            raise self._error("NaN or infinite values")
        return array

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.content[self.place :].strip(b" \n"):
            raise self._error("more than was expected")

    def _binary_array(self, dimensions: int) -> Floats:
        kind, _, _ = self.content[self.place : self.place + 4].partition(b" ")
        dtype, found = _KINDS.get(kind, ("", 0))
        if found != dimensions:
            raise self._error("expected a float or double " + ("vector" if dimensions == 1 else "matrix"))
        self.place += 3
        sizes = tuple(self._sizes(dimensions))
        count = math.prod(sizes)
        end = self.place + count * int(dtype[2])
        if min(sizes) < 0 or end > len(self.content):
            raise self._error(f"cut off or damaged: its header says {' x '.join(map(str, sizes))}")
        with np.errstate(invalid="ignore"):  # a signalling NaN, which is refused below, needs no warning
            values = np.frombuffer(self.content, dtype, count, self.place).astype(np.float64)
        self.place = end
        return values.reshape(sizes)

    def _sizes(self, count: int) -> Iterator[int]:
        for _ in range(count):
            header = self.content[self.place : self.place + 5]
            if len(header) < 5 or header[:1] != b"\4":
                raise self._error("cut off or damaged")
            self.place += 5
            yield struct.unpack("<i", header[1:])[0]

    def _text_array(self, dimensions: int) -> Floats:
        self._skip_space()
        end = self.content.find(b"]", self.place)
        if self.content[self.place : self.place + 1] != b"[" or end < 0:
            raise self._error("expected numbers in [ ]")
        lines = self.content[self.place + 1 : end].split(b"\n")
        try:
            rows = [[float(value) for value in line.split()] for line in lines]
        except ValueError:
            raise self._error("something that is no number") from None
        rows = [row for row in rows if row]
        if len({len(row) for row in rows}) > 1 or (dimensions == 1 and len(rows) > 1):
            raise self._error("rows of different lengths")
        self.place = end + 1
        array = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)
        return array.reshape(-1) if dimensions == 1 else array

    def _skip_space(self) -> None:
        rest = self.content[self.place :]
        self.place += len(rest) - len(rest.lstrip(b" \n\t\r"))

    def _error(self, problem: str) -> UserError:
        return UserError(f"{self.path}: at byte {self.place}: {problem}: is it the file of Kaldi that you mean?")
