"""Which of Lhotse's storages of arrays are read: those that can hold nothing but numbers.

A manifest names the class that reads its arrays and where they lie. Lhotse itself would unpickle what stands in the
manifest (``memory_raw``), and run a path that begins with ``pipe:`` as a command of the shell.
"""

from __future__ import annotations

import os
from typing import Any

from imlkd.errors import UserError

SAFE = frozenset({
    "numpy_files", "numpy_hdf5", "lilcom_files", "lilcom_hdf5", "chunked_lilcom_hdf5", "lilcom_chunky",
    "memory_npy", "memory_lilcom",
})  # fmt: skip


def refuse_unsafe(features: Any, where: str) -> None:
    """Pass features (Lhotse's ``Features``) that may be loaded.

    :param where: manifest and cut, for messages.
    :raises UserError: for another storage, a command, or a relative path that leaves its folder.
    """
    kind = getattr(features, "storage_type", None)
    if not isinstance(kind, str) or kind not in SAFE:
        raise UserError(f"{where}: features in storage {kind!r}, which is not read: use {', '.join(sorted(SAFE))}")
    if not kind.startswith("memory_"):
        refuse_leaving(f"{features.storage_path}", where)
        refuse_leaving(f"{features.storage_key}", where)


def refuse_leaving(path: str, where: str) -> None:
    """Pass an absolute path, or a relative one that stays below the folder it is relative to.

    :raises UserError: for ``..`` that leads out of that folder, and for a command or address in place of a path.
    """
    if path.startswith("pipe:") or "://" in path:
        raise UserError(f"{where}: {path!r} is no path: a manifest may not run commands or fetch files")
    if not os.path.isabs(path) and os.path.normpath(path).split(os.sep)[0] == os.pardir:
        raise UserError(f"{where}: {path!r} leaves its folder: write the absolute path when that is meant")
