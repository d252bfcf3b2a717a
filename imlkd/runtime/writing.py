"""Embeddings on disk: Kaldi's ark with its scp, or NumPy's npz."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from imlkd.errors import UserError
from imlkd.files import atomic_open
from imlkd.kaldi_io import ArkWriter, FloatArray

Write = Callable[[str, FloatArray], None]


@contextlib.contextmanager
def writer_for(out: Path | None, dim: int) -> Iterator[Write]:
    """``write(id, embedding)`` into a file that appears whole or not at all: ``.ark`` (with ``.scp``) or ``.npz``.

    :param out: None: they go nowhere. ``dim``: of the embeddings, for a file without any.
    :raises UserError: for an id that no ark can hold, and for what the disk says.
    """
    if out is None:
        yield lambda name, vector: None
    elif out.suffix == ".ark":
        with ArkWriter(out, out.with_suffix(".scp")) as ark:
            yield lambda name, vector: ark.write(_key(name), vector)
    else:
        rows: dict[str, FloatArray] = {}
        yield rows.__setitem__
        with atomic_open(out, "wb") as stream:
            matrix = np.stack(list(rows.values())) if rows else np.zeros((0, dim), np.float32)
            np.savez(stream, ids=np.array(list(rows), dtype=np.str_), embeddings=matrix)


def _key(name: str) -> str:
    if len(name.split()) != 1 or name != name.strip() or not name.isprintable():
        raise UserError(f"{name!r}: no key of an ark, which holds no white space: write .npz or --json, or use a .scp")
    return name
