"""The curve that a training is expected to follow: an entry an epoch of a run that went well.

``curves/<name>.jsonl`` beside a recipe's configuration holds it: ``log/train.jsonl`` of that run without its times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import atomic_write_text
from imlkd.kaldi_io import read_lines

FOLDER = "curves"
LOG, EXPECTED = "log/train.jsonl", "log/expected.jsonl"  # of a model: its own, and the one it is held against
TIMED = ("seconds", "samples_per_second", "loader_wait")
"""Entries that say how fast the machine was."""


@dataclass(frozen=True)
class Curve:
    """Named numbers of each epoch, from the first on.

    :param path: the file they are from.
    """

    path: Path
    entries: list[dict[str, float]]

    def said(self, epoch: int) -> str:
        """What a line on epoch ``epoch`` (from 1) says of it; nothing behind its end."""
        at = self.entries[epoch - 1] if epoch <= len(self.entries) else {}
        names = [name for name in ("loss", "dev_eer") if name in at]
        return f"(expected {' '.join(f'{name} {at[name]:.3g}' for name in names)})" if names else ""

    def misfit(self, epochs: int) -> str:
        """Why a training of ``epochs`` can't be held against it; nothing when it can."""
        if epochs == len(self.entries):
            return ""
        return f"{self.path} is of {len(self.entries)} epochs, this training of {epochs}: not drawn against it"


def read_curve(path: Path) -> Curve:
    """The entries of a curve, or of a training's own ``log/train.jsonl``.

    :raises UserError: for a line that is no entry, or epochs that don't follow each other from 1 on.
    """
    entries: list[dict[str, float]] = []
    for number, line in read_lines(path):
        try:
            entry = {str(name): float(value) for name, value in json.loads(line).items()}
        except (ValueError, TypeError, AttributeError):
            entry = {}
        if entry.get("epoch") != number:
            raise UserError(f"{path}:{number}: no entry of epoch {number}: `imlkd model curve --keep` writes such")
        entries.append({name: value for name, value in entry.items() if name not in TIMED})
    return Curve(path, entries)


def write_curve(entries: list[dict[str, float]], path: Path) -> None:
    """Atomically, an entry a line."""
    atomic_write_text(path, "".join(json.dumps(_plain(entry)) + "\n" for entry in entries))


def _plain(entry: Mapping[str, float]) -> dict[str, float]:
    return {name: int(value) if name == "epoch" else value for name, value in entry.items()}


def curve_beside(config: Path | None, name: str) -> Curve | None:
    """The curve that the recipe of ``config`` has for the model called ``name``, if it has one."""
    path = config.parent / FOLDER / f"{name}.jsonl" if config is not None else None
    return read_curve(path) if path is not None and path.is_file() else None
