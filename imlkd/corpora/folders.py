"""Folders that are replaced whole: made beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from imlkd.files import make_dir, os_errors, process_lives

_PREFIX = ".staging.tmp"
_LOCK = ".prepare.lock"


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


@contextlib.contextmanager
def locked(folder: Path | str, say: Callable[[str], object] = print) -> Iterator[None]:
    """Hold ``folder`` for this process: another one that wants it waits here, and says so once.

    The kernel lets go when the process ends, however it ends; the file ``.prepare.lock`` is there meanwhile. A folder
    that was made for it goes again when nothing was put into it.

    :raises UserError: when the folder can't be made or written.
    """
    path = Path(folder) / _LOCK
    is_new = not path.parent.exists()
    with os_errors(path):
        descriptor = _lock(path, say)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock is released: who waits finds the file gone and makes its own
            if is_new:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
            os.close(descriptor)


def _lock(path: Path, say: Callable[[str], object]) -> int:
    said = False
    while True:
        make_dir(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder went just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                owner = os.read(descriptor, 20).decode().strip() or "on another machine"
                say(f"{path.parent}: another process ({owner}) prepares it: waiting for that one")
            said = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        os.close(descriptor)
