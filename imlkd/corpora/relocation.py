"""Audio that has moved: one beginning of its paths in place of another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imlkd.errors import UserError


def relocated(wav: Mapping[str, str], old: str, new: str, where: str) -> dict[str, str]:
    """``wav`` (id -> path) with ``new`` for ``old`` where a path lies in the folder ``old``.

    ``/a/b`` is the beginning of ``/a/b/c.wav``, not of ``/a/bc.wav``. Pipes stay.

    :param where: what the paths come from, for the message.
    :raises UserError: when no path begins so, or the first relocated file is not there.
    """
    old, new = old.rstrip("/"), new.rstrip("/")
    moved = dict(wav)
    changed = ""
    for key, path in wav.items():
        if path.startswith(old + "/") and not path.endswith("|"):
            moved[key] = new + path[len(old) :]
            changed = changed or moved[key]
    if not changed:
        first = next(iter(wav.values()), "")
        raise UserError(f"{where}: no path begins with {old}/, the first is {first}: mend --relocate OLD NEW")
    if not Path(changed).exists():
        raise UserError(f"{where}: relocated to {changed}, which is not there: mend --relocate OLD NEW")
    return moved
