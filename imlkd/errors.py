"""The one exception a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: one line that names the file, the line or id, and what to do.

    The command line prints it after ``imlkd: error:`` and leaves with status 1; library users may catch it.
    """
