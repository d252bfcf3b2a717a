"""What a job of stage 3 has finished, appended record by record, so that a killed job goes on where it was.

A record is ``REC`` and a line feed, the length and CRC-32 of its content (little endian, 8 and 4 bytes), and the
content: the length of a JSON header, the header (key, and name and shape of each array), and the arrays as float32. A
kill can only damage the last record; whatever follows the first damaged one is cut off. A chunk that the disk had no
room for is taken back at once, so that the file holds whole records or is not there.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imlkd.files import make_dir, os_errors
from imlkd.kaldi_io import FloatArray

Record = tuple[str, dict[str, FloatArray]]
_HEAD = struct.Struct("<4sQI")
_MARK = b"REC\n"


class Journal:
    """The journal of one job.

    :param path: of the file; a journal of anything else than ``made_from`` is begun anew.
    :param made_from: digest of all that the records depend on.
    """

    def __init__(self, path: Path, made_from: str) -> None:
        self.path = path
        self.first_line = f"imlkd journal of {made_from}\n".encode()
        self.keys: list[str] = []
        self.cut_off = 0  # bytes of a damaged record that were dropped
        self._end = self._recover()

    def _recover(self) -> int:
        """Read what is whole and cut off the rest; returns the length of the file."""
        if not self.path.is_file():
            return 0
        with os_errors(self.path), open(self.path, "r+b") as stream:
            if stream.readline() != self.first_line:
                stream.truncate(0)
                return 0
            end = stream.tell()
            for content in _contents(stream):
                self.keys.append(_parse(content)[0])
                end = stream.tell()
            self.cut_off = os.fstat(stream.fileno()).st_size - end
            stream.truncate(end)
        return end

    def append(self, records: Iterable[Record]) -> None:
        """Add a chunk of records; it is on the disk when this returns, and on an error nothing of it is."""
        keys, parts = [], [] if self._end else [self.first_line]
        for key, arrays in records:
            content = _packed(key, arrays)
            parts += [_HEAD.pack(_MARK, len(content), zlib.crc32(content)), content]
            keys.append(key)
        make_dir(self.path.parent)
        with os_errors(self.path):
            try:
                with open(self.path, "ab") as stream:
                    stream.writelines(parts)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError:
                self._take_back()
                raise
        self.keys += keys
        self._end += sum(map(len, parts))

    def _take_back(self) -> None:
        """Leave what is whole, and no file where nothing is."""
        if self._end:
            os.truncate(self.path, self._end)
        else:
            self.path.unlink(missing_ok=True)

    def records(self) -> Iterator[Record]:
        """All records in the order of their coming, one at a time in memory."""
        if self._end:
            with os_errors(self.path), open(self.path, "rb") as stream:
                stream.readline()
                for content in _contents(stream):
                    yield _parse(content)

    def remove(self) -> None:
        """Once its records are elsewhere."""
        self.path.unlink(missing_ok=True)


def _contents(stream: BinaryIO) -> Iterator[bytes]:
    """Contents of the records up to the first that isn't whole."""
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    while left >= _HEAD.size:
        mark, length, checksum = _HEAD.unpack(stream.read(_HEAD.size))
        left -= _HEAD.size + length
        if mark != _MARK or left < 0:
            return
        content = stream.read(length)
        if zlib.crc32(content) != checksum:
            return
        yield content


def _packed(key: str, arrays: Mapping[str, FloatArray]) -> bytes:
    values = {name: np.asarray(array, dtype="<f4", order="C") for name, array in arrays.items()}
    header = json.dumps([key, {name: list(array.shape) for name, array in values.items()}]).encode()
    return b"".join([struct.pack("<I", len(header)), header, *(array.tobytes() for array in values.values())])


def _parse(content: bytes) -> Record:
    (length,) = struct.unpack_from("<I", content)
    key, shapes = json.loads(content[4 : 4 + length])
    arrays, offset = {}, 4 + length
    for name, shape in shapes.items():
        count = math.prod(shape)
        arrays[name] = np.frombuffer(content, "<f4", count, offset).reshape(shape).astype(np.float32)
        offset += 4 * count
    return key, arrays
