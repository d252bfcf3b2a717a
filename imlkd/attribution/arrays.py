"""Arrays that hang on cuts, in one HDF5 file that lhotse reads."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType

import h5py
from lhotse import NumpyHdf5Writer

from imlkd.files import atomic_open


class ArrayWriter(NumpyHdf5Writer):  # type: ignore[misc]
    """lhotse's writer, with the file in memory until it is whole.

    On the disk itself HDF5 brings the whole process down when there is no space left.
    """

    def __init__(self, path: Path) -> None:
        self.storage_path_ = path.absolute()
        self._content = io.BytesIO()
        self.hdf = h5py.File(self._content, mode="w")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            with atomic_open(self.storage_path_, "wb") as stream:
                stream.write(self._content.getbuffer())
