"""What a run leaves under version control: one small JSON file with its settings, cost and scores.

Scores of the held-out trials are kept, not error rates alone, so that any two rows can be compared speaker by speaker
later, on a machine that has no audio. A cosine is kept in steps of 2^-14: less than a tenth of the smallest difference
between error rates of a thousand trials.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, parse_json
from imlkd.scoring.metrics import Floats

_STEP = 2.0**-14


@dataclass(frozen=True)
class Record:
    """A finished run, or a fold's teacher (``row`` is ``teacher`` then).

    :param settings: digest that tells it from a run of the same name in an earlier version of the study.
    :param trials: SHA-256 of its fold's list.
    :param minutes: of training.
    :param scores: packed by condition (``full``, ``1s``), in the order of the list.
    :param step_ms: of training by the clock, ``peak_mb``: of its process (see ``imlkd.study.cost``).
    """

    study: str
    row: str
    student: str
    fold: int
    seed: int
    settings: str
    trials: str
    git: str
    parameters: int
    minutes: float
    scores: dict[str, str]
    step_ms: float | None = None
    peak_mb: float | None = None

    @property
    def name(self) -> str:
        """That of its run."""
        return f"{self.row}.{self.student}.f{self.fold}.s{self.seed}"

    def score(self, condition: str) -> Floats:
        """Scores of a condition, (T,)."""
        return unpacked(self.scores[condition])

    def write(self, path: Path) -> None:
        """Atomically."""
        atomic_write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        """UserError for a file that is none."""
        try:
            return cls(**parse_json(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: not a record of a run: remove it, and its run is made again") from error


def packed(scores: Floats) -> str:
    """Scores (T,) of -2 to 2 as text."""
    steps = np.round(np.asarray(scores, dtype=np.float64) / _STEP)
    if not np.isfinite(steps).all() or np.abs(steps).max(initial=0.0) > 2**15 - 1:
        raise ValueError("scores are no cosines")
    return base64.b64encode(zlib.compress(steps.astype("<i2").tobytes(), 9)).decode()


def unpacked(text: str) -> Floats:
    """The reverse of ``packed``, to half a step."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i2")
    return steps.astype(np.float64) * _STEP


def read_records(folder: Path) -> list[Record]:
    """All records of a study, by name."""
    return [Record.read(path) for path in sorted(folder.glob("*.json"))]
