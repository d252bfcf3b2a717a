"""What the package reads from others, by kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import data_files, manifests, models
from tests.fuzz.loader import GIVEN, Files, Loader

LOADERS: dict[str, Loader] = {**data_files.LOADERS, **manifests.LOADERS, **models.LOADERS}


def whole_files(kind: str, folder: Path) -> Files:
    """Content by name of the whole files of a kind, written to ``folder``."""
    LOADERS[kind].write(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def can_be_damaged(name: str) -> bool:
    """Whether it is not one of those that only have to be there."""
    return not name.startswith(GIVEN)
