"""Arrays that hang on cuts: HDF5 files that lhotse reads, and the way back from a cut to its relevance.

Relevance is kept as int8 with a scale of its own (``NAME_scale`` of the cut), a quarter of float32; the error is half
of the scale at most. Lhotse slices such an array with the cut. What it doesn't do is notice that a cut's speed was
changed behind it, so read relevance through ``load_map``.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from lhotse import NumpyHdf5Writer

from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.files import atomic_open
from imlkd.kaldi_io import FloatArray

SHARD_BYTES = 32 << 20  # of arrays in one file, which is in memory until it is whole
ORIGIN, RECORDED = "relevance_origin", "relevance_recorded"  # fields of a cut: hash; its recording's seconds


class ArrayWriter:
    """lhotse's HDF5 writer over files ``NAME.0.h5``, ``NAME.1.h5`` ..., one at a time in memory until it is whole.

    On the disk itself HDF5 brings the whole process down when there is no space left. On an error nothing is left.
    """

    def __init__(self, path: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.path, self.shard_bytes = path.absolute(), shard_bytes
        self._made: list[Path] = []
        self._shard: _Shard | None = None

    def __enter__(self) -> ArrayWriter:
        return self

    def store(self, key: str, array: FloatArray) -> Any:
        """A plain array; returns its manifest."""
        return self._open(array.nbytes).store_array(key, array)

    def store_map(self, cut: Any, name: str, values: FloatArray) -> None:
        """Hang relevance (T,) on ``cut`` as its field ``name``, int8 beside ``NAME_scale``."""
        scale = max(float(np.abs(values).max(initial=0.0)), 1e-12) / 127
        small = np.round(values / scale).astype(np.int8)
        shard = self._open(small.nbytes)
        manifest = shard.store_array(
            f"{cut.id}-{name}", small, frame_shift=1 / FRAMES_PER_SECOND, temporal_dim=0, start=cut.start
        )
        setattr(cut, name, manifest)
        setattr(cut, f"{name}_scale", scale)

    def _open(self, more: int) -> _Shard:
        if self._shard is not None and self._shard.bytes + more > self.shard_bytes:
            self._close()
        if self._shard is None:
            self._shard = _Shard(self.path.with_name(f"{self.path.stem}.{len(self._made)}.h5"))
        self._shard.bytes += more
        return self._shard

    def _close(self) -> None:
        if self._shard is not None:
            self._made.append(self._shard.storage_path_)
            self._shard.write_out()
            self._shard = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close()
        except BaseException:
            self._remove()
            raise
        if kind is not None:
            self._remove()
            return
        for old in self.path.parent.glob(f"{self.path.stem}*.h5"):
            if old not in self._made:
                old.unlink()

    def _remove(self) -> None:
        for path in self._made:
            path.unlink(missing_ok=True)


class _Shard(NumpyHdf5Writer):  # type: ignore[misc]
    """One file, in memory."""

    def __init__(self, path: Path) -> None:
        self.storage_path_ = path
        self.bytes = 0
        self._content = io.BytesIO()
        self.hdf = h5py.File(self._content, mode="w")

    def write_out(self) -> None:
        self.close()
        with atomic_open(self.storage_path_, "wb") as stream:
            stream.write(self._content.getbuffer())


def mark_origin(cut: Any, origin: str) -> None:
    """Note on a cut whose relevance it carries and how long its recording was then."""
    setattr(cut, ORIGIN, origin)
    setattr(cut, RECORDED, cut.recording.duration)


def load_map(cut: Any, name: str = "relevance", origin: str | None = None) -> FloatArray:
    """Relevance (frames,) float32 of a mono cut, whole, truncated or cut into windows.

    :param origin: the teacher's hash in ``origin.yaml``; None takes any teacher's.
    :raises UserError: when the cut has no such map, its speed was changed since, or another teacher made it.
    """
    custom = cut.custom or {}
    if name not in custom or f"{name}_scale" not in custom:
        raise UserError(f"cut {cut.id}: carries no {name}: take the cuts that stage 3 wrote")
    found = custom.get(ORIGIN)
    if origin is not None and found != origin:
        raise UserError(f"cut {cut.id}: {name} of teacher {found}, wanted {origin}: run stage 3 with it again")
    known = float(custom[RECORDED])
    if abs(cut.recording.duration - known) * FRAMES_PER_SECOND > 0.5:
        raise UserError(
            f"cut {cut.id}: {name} was taken from {known:g} s of recording, which now is {cut.recording.duration:g} s"
            " long (speed or tempo changed): explain the changed audio, or change it without its map"
        )
    values: FloatArray = np.float32(custom[f"{name}_scale"]) * cut.load_custom(name).astype(np.float32)
    return values
