"""The SQLite file behind a store of speakers: its schema, how it is opened, and what its errors mean.

The rollback journal (no WAL) keeps a store that nobody writes in one file, which can be copied or mailed as it is.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from imlkd.errors import UserError
from imlkd.files import REMEDY

APPLICATION_ID, VERSION = 0x494D4C4B, 1  # "IMLK" in the file's header; of the schema
SCHEMA = {
    "facts": "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "speaker": "CREATE TABLE speaker (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, vector BLOB NOT NULL) STRICT",
    "recording": (
        "CREATE TABLE recording (id INTEGER PRIMARY KEY, speaker INTEGER NOT NULL REFERENCES speaker (id) "
        "ON DELETE CASCADE, source TEXT NOT NULL, seconds REAL NOT NULL, vector BLOB NOT NULL) STRICT"
    ),
    "recording_of": "CREATE INDEX recording_of ON recording (speaker)",
}
LONGEST = 4 << 20  # bytes of one value: a damaged header asks for no more
DAMAGED = "no store of speakers, or a damaged one: put a copy back, or enrol again under another name"
FULL, LIMIT, DENIED = REMEDY[errno.ENOSPC], REMEDY[errno.EFBIG], REMEDY[errno.EACCES]
MEANING = {
    "SQLITE_BUSY": "in use by another process: run the same command again (--wait SECONDS waits longer)",
    "SQLITE_FULL": FULL,
    "SQLITE_READONLY": "cannot be written: choose another place or change its owner",
    "SQLITE_PERM": DENIED,
    "SQLITE_CANTOPEN": "cannot be opened: is its folder there, and may it be read and written?",
    "SQLITE_IOERR": f"cannot be read or written: {FULL} ({LIMIT})",
}


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says, and values of another kind than the schema's, into one UserError line."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        meaning = next((text for code, text in MEANING.items() if name.startswith(code)), DAMAGED)
        raise UserError(f"{path}: {meaning}") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: {DAMAGED}") from error


def connect(path: Path, mode: str, wait: float) -> sqlite3.Connection:
    """A connection that trusts nothing in the file; ``mode`` is ``ro``, ``rw`` or ``rwc`` (may create it).

    :param wait: seconds to wait for another process that writes.
    :raises sqlite3.Error: see ``store_errors``.
    """
    place = f"file:{quote(str(path.absolute()), safe='/')}?mode={mode}"
    connection = sqlite3.connect(place, timeout=wait, isolation_level=None, uri=True)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it is in the file afterwards, or nothing. It waits for other writers first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the file holds nothing yet: new, or left by a process that was killed while it made it."""
    count, version, application = (
        connection.execute(text).fetchone()[0]
        for text in ("SELECT count(*) FROM sqlite_master", "PRAGMA user_version", "PRAGMA application_id")
    )
    return (count, version, application) == (0, 0, 0)


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables of a new store, inside a transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in SCHEMA.values():
        connection.execute(statement)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """UserError unless the file is a store of this version, with these tables and nothing beside them."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version > VERSION:
        raise UserError(f"{path}: a store of version {version}, known is {VERSION}: install a newer imlkd")
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    if (application, version) != (APPLICATION_ID, VERSION) or found != SCHEMA:
        raise UserError(f"{path}: {DAMAGED}")
