"""Files that are either complete or not there: atomic writes, hashes, folders."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from imlkd.errors import UserError

REMEDY = {
    errno.ENOSPC: "no space left on the device: free some, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EFBIG: "the file-size limit is reached: raise it (`ulimit -f`), then run the same command again",
    errno.EACCES: "permission denied: choose another folder or change its owner",
    errno.EPERM: "operation not permitted: choose another folder or change its owner",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of this path is a plain file: move it away or choose another folder",
    errno.EEXIST: "a plain file stands where a folder is needed: move it away or choose another folder",
    errno.EISDIR: "a folder stands where a file is needed: move it away or choose another name",
    errno.ENOENT: "no such file or folder",
    errno.ENAMETOOLONG: "no file can have so long a name: mend it",
}


@contextlib.contextmanager
def os_errors(path: Path | str) -> Iterator[None]:
    """Turn an OSError inside the block into a UserError that names ``path`` and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDY:
            raise
        named = Path(error.filename) if isinstance(error.filename, str) else Path(path)
        place = path if ".tmp" in named.name else named
        raise UserError(f"{place}: {REMEDY[error.errno]}") from error


def parse_json(text: str | bytes) -> Any:
    """``json.loads``, whose ValueError also stands for what is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """``yaml.safe_load``: plain values only.

    :raises ValueError: for what is not YAML, holds objects, or is nested too deeply to be read.
    """
    import yaml  # what stands on this module need not need it

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(getattr(error, "problem", None) or error).splitlines()[0]) from error


def make_dir(path: Path | str) -> Path:
    """``mkdir -p``; UserError when a plain file is in the way or the place is not writable."""
    path = Path(path)
    with os_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def temporary_name(path: Path | str) -> Path:
    """Where ``path`` is written before it is renamed: hidden, in the same folder, one per process."""
    path = Path(path)
    return path.with_name(f".{path.name}.tmp{os.getpid()}")


def remove_leftovers(folder: Path | str) -> None:
    """Remove what killed processes left of atomic writes in ``folder`` and below; those of live processes stay.

    Only for one who knows that no process of another machine writes there: process numbers are this machine's.
    """
    for root, _, names in os.walk(folder):
        for name in names:
            match = re.fullmatch(r"\..+\.tmp(\d+)(\.\w+)*", name)
            if match and not process_lives(int(match[1])):
                Path(root, name).unlink(missing_ok=True)


def process_lives(number: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def atomic_path(path: Path | str, named: Callable[[], Path] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it on success, remove it on any error.

    :param named: asked at the end for a name beside ``path``, where that depends on what has been written.
    """
    path = Path(path)
    make_dir(path.parent)
    temporary = temporary_name(path)
    try:
        with os_errors(path):
            yield temporary
            _sync(temporary)
            os.replace(temporary, path if named is None else named())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_open(path: Path | str, mode: str = "w") -> Iterator[IO[Any]]:
    """Open for writing so that ``path`` holds either its old content or all of the new one."""
    encoding = None if "b" in mode else "utf-8"
    with atomic_path(path) as temporary, open(temporary, mode, encoding=encoding) as stream:
        yield stream


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) atomically."""
    with atomic_open(path) as stream:
        stream.write(text)


def sha256_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with os_errors(path), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
