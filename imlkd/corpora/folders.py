"""Folders that are replaced whole: made beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imlkd.files import make_dir, os_errors, process_lives

_PREFIX = ".staging.tmp"


@contextlib.contextmanager
def staging(parent: Path | str) -> Iterator[Path]:
    """Yield an empty hidden folder inside ``parent``, on the same file system; it is removed at the end.

    What a killed process left behind is removed first.

    :raises UserError: when ``parent`` can't be made or written (full disk, no permission, a plain file in its place).
    """
    parent = make_dir(parent)
    _remove_leftovers(parent)
    folder = parent / f"{_PREFIX}{os.getpid()}"
    try:
        with os_errors(parent):
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(staged: Path, final: Path) -> None:
    """Rename ``staged`` (a file or folder inside a staging folder) to ``final``; what was there goes with the staging.

    When the renaming fails, the old ``final`` is put back.
    """
    make_dir(final.parent)
    attic = staged.with_name(staged.name + ".replaced")
    with os_errors(final):
        had_old = final.is_symlink() or final.exists()
        if had_old:
            os.rename(final, attic)
        try:
            os.rename(staged, final)
        except BaseException:
            if had_old:
                os.rename(attic, final)
            raise


def _remove_leftovers(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        number = folder.name.removeprefix(_PREFIX)
        if number.isdigit() and not process_lives(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
