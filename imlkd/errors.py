"""The one exception a user is meant to read, and the one that is no error."""

from __future__ import annotations

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again


class UserError(Exception):
    """Bad input: one line that names the file, the line or id, and what to do.

    The command line prints it after ``imlkd: error:`` and leaves with status 1; library users may catch it.
    """


class Preempted(Exception):
    """Left with everything saved that the next start needs: asked to by SIGTERM or SIGUSR1, or a process is gone.

    The command line prints it after ``imlkd: preempted:`` and leaves with status 75; the same command goes on.
    """
