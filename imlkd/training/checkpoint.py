"""Checkpoints of a training on disk: written whole or not at all, found damaged by their digest, the newest ones kept.

``checkpoints/<steps>.<digest>.pt`` holds the full state after that many steps. The digest is that of the bytes: torch
reads a file with a flipped bit without complaint.
"""

from __future__ import annotations

import collections
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imlkd.errors import UserError
from imlkd.files import atomic_path, make_dir, os_errors
from imlkd.models.store import load_tensors, save_into, save_tensors

FOLDER = "checkpoints"
NAME = re.compile(r"(\d{9})\.([0-9a-f]{16})\.pt")
WEIGHTS = re.compile(r"epoch-(\d{6})\.pt")

State = dict[str, Any]
Ranked = Sequence[tuple[float, int]]


class CheckpointStore:
    """The checkpoints of one training folder.

    :param last: how many of the newest are kept; with one, a damaged checkpoint has none before it.
    """

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last = folder / FOLDER, last
        self.damaged: list[Path] = []

    def save(self, state: State, steps: int) -> Path:
        """Write ``state`` after ``steps`` steps, then remove what is older than the newest ``last`` ones.

        Checkpoints of more steps are of another training, or lie ahead of one that was damaged: they go as well.
        """
        digest, unnamed = hashlib.sha256(), make_dir(self.folder) / f"{steps:09d}.pt"

        def named() -> Path:
            return unnamed.with_name(f"{steps:09d}.{digest.hexdigest()[:16]}.pt")

        with atomic_path(unnamed, named) as temporary, open(temporary, "wb") as stream:
            save_into(state, stream, digest.update)
        path = named()
        others = [other for other in self.paths() if other != path]
        ahead = [other for other in others if _steps(other) >= steps]
        before = [other for other in others if other not in ahead]
        self._remove([*ahead, *before[: max(0, len(before) - self.last + 1)]])
        return path

    def newest(self) -> tuple[State, Path] | None:
        """The newest checkpoint that is whole; those passed over are in ``damaged``."""
        self.damaged = []
        for path in reversed(self.paths()):
            state = _read(path)
            if state is not None:
                return state, path
            self.damaged.append(path)
        return None

    def paths(self) -> list[Path]:
        """By steps."""
        found = self.folder.glob("*.pt") if self.folder.is_dir() else ()
        return sorted((path for path in found if NAME.fullmatch(path.name)), key=_steps)

    def remove_others(self, own: Path) -> None:
        """Remove all but ``own``: checkpoints of a training that this one takes the place of, and its weights."""
        self._remove([path for path in self.folder.glob("*.pt") if path != own])

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            with os_errors(path):
                path.unlink(missing_ok=True)


class BestWeights:
    """The weights after the best epochs, ``checkpoints/epoch-<number>.pt``; the list of them is part of the state.

    :param count: how many are kept.
    :param states: how many checkpoints there are that may name weights.
    :param kept: (value, epoch), the lowest value first.

    What is written may lag behind ``kept``: it is that of a checkpoint, which a thread puts on the disk.
    """

    def __init__(self, folder: Path, count: int, states: int) -> None:
        self.folder, self.count = folder / FOLDER, count
        self.kept: list[tuple[float, int]] = []
        self._named: collections.deque[set[str]] = collections.deque(maxlen=states)

    def rank(self, value: float, epoch: int) -> None:
        """Take the epoch among the best if its value is low enough; of equal ones the earlier stays."""
        self.kept = sorted([*((v, e) for v, e in self.kept if e != epoch), (value, epoch)])[: self.count]

    def write(self, epoch: int, weights: State, kept: Ranked, resumed: bool = False) -> None:
        """Keep the weights if the epoch is among the best, and remove those that no checkpoint names any more.

        After the checkpoint that names them: it holds the same weights, so that a kill in between loses nothing.

        :param kept: the best epochs, as that checkpoint has them.
        :param resumed: from such a checkpoint; they are written only if they are not there.
        """
        names, path = [path.name for path in self.paths(kept)], self.folder / f"epoch-{epoch:06d}.pt"
        if path.name in names and not (resumed and path.is_file()):
            save_tensors(weights, path)
        self._named.append(set(names))
        if resumed:  # what earlier checkpoints name is not known; the next epoch clears up
            return
        for path in self.folder.glob("epoch-*.pt") if self.folder.is_dir() else ():
            if WEIGHTS.fullmatch(path.name) and not any(path.name in named for named in self._named):
                with os_errors(path):
                    path.unlink(missing_ok=True)

    def paths(self, kept: Ranked) -> list[Path]:
        """Best first."""
        return [self.folder / f"epoch-{epoch:06d}.pt" for _, epoch in kept]

    def mean(self) -> State:
        """Tensor by tensor; whole numbers are the best epoch's."""
        states = [load_tensors(path) for path in self.paths(self.kept) if path.is_file()]
        if not states:
            raise UserError("final: best, and no epoch's weights are kept: set training.checkpoints.best=1 or more")
        return {name: _mean([state[name] for state in states]) for name in states[0]}


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    first = values[0]
    return torch.stack([v.double() for v in values]).mean(0).to(first.dtype) if first.is_floating_point() else first


def _steps(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _read(path: Path) -> State | None:
    """None when the bytes are not those that were written."""
    with os_errors(path):
        content = path.read_bytes()
    match = NAME.fullmatch(path.name)
    if match is None or hashlib.sha256(content).hexdigest()[:16] != match[2]:
        return None
    try:
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever its parser meets in bytes that others wrote, digest and all
        return None
    return state
