"""The one exception a user is meant to read, and the one that is no error."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again
_LONG_WORD, _LONG = 400, 3000  # letters: a message may list five long paths


class UserError(Exception):
    """Bad input: one line that names the file, the line or id, and what to do.

    The command line prints it after ``imlkd: error:`` and leaves with status 1; library users may catch it. What a
    damaged file says of itself may be endless, or move the cursor of a terminal: it is shortened, and made printable.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


@contextlib.contextmanager
def naming(place: Path | str) -> Iterator[None]:
    """Put the file at fault in front of a UserError about what was read from it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _one_line(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: f"{word[0][:80]}...{word[0][-40:]}", plain)
    return plain if len(plain) <= _LONG else f"{plain[:2000]} ... {plain[-900:]}"


class Preempted(Exception):
    """Left with everything saved that the next start needs: asked to by SIGTERM or SIGUSR1, or a process is gone.

    The command line prints it after ``imlkd: preempted:`` and leaves with status 75; the same command goes on.
    """
