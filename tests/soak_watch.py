"""What a disturbed start may not do: leave processes, do a finished stage again, begin a training anew."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE = 10.0  # seconds in which processes may end behind their recipe


def adopt_orphans() -> None:
    """Processes whose parents have ended come to this one, and not to a first process that may never collect them."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bury() -> None:
    """Collect adopted processes that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def stragglers(session: int) -> list[str]:
    """Processes of a session that are there ``GRACE`` seconds behind its end, zombies too: number, state, command."""
    limit = time.monotonic() + GRACE
    while True:
        bury()
        left = _members(session)
        if not left or time.monotonic() > limit:
            return [f"process {line}" for line in left]
        time.sleep(0.2)


def _members(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{folder.name} ({fields[0]}) {command.strip()}")
    return found


@dataclass(frozen=True)
class Memory:
    """What stood before a start: the markers of finished stages, and the steps of each model's newest checkpoint."""

    markers: dict[Path, bytes]
    steps: dict[Path, int]


def remember(folder: Path) -> Memory:
    """What stands in the folder of a round now."""
    done = [path for path in folder.rglob(".done*") if path.is_file() and "pending" not in path.name]
    markers = {path: path.read_bytes() for path in done}
    return Memory(markers, steps_of(folder))


def steps_of(folder: Path) -> dict[Path, int]:
    """Model folder -> steps of its newest checkpoint."""
    found: dict[Path, int] = {}
    for path in folder.glob("exp/*/checkpoints/[0-9]*.pt"):
        model, steps = path.parents[1], int(path.name.partition(".")[0])
        found[model] = max(steps, found.get(model, 0))
    return found


def lost(folder: Path, before: Memory) -> list[str]:
    """Stages that were finished and are not, or were done again; trainings that had a checkpoint and began anew."""
    found = []
    for path, content in before.markers.items():
        now = path.read_bytes() if path.is_file() else b""
        if now != content:
            found.append(f"{path.relative_to(folder)} is {'gone' if not now else 'made again'}")
    now_steps = steps_of(folder)
    for model, steps in before.steps.items():
        if now_steps.get(model, 0) < steps:
            found.append(f"{model.name} began anew: {steps} steps before, {now_steps.get(model, 0)} now")
    return found
