"""Training segments: pieces of utterances, of several durations, on a grid.

A segment's id is ``<utterance>-<frames>-<start>``, both in frames of 10 ms, so that ids sort with their utterance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.config import bounded
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.kaldi_io import read_table, write_table


@dataclass(frozen=True)
class SegmentsConfig:
    """Where segments lie."""

    durations: list[float] = bounded([1.0, 2.0, 3.0], low=0.2, high=60.0, help="seconds")
    hop: float = bounded(0.5, low=0.01, high=60.0, help="seconds between starts")
    min_speech: float = bounded(0.3, low=0.0, high=1.0, help="smallest share of speech frames")
    max_dropped: float = bounded(0.1, low=0.0, high=1.0, help="largest share of utterances without any segment")


@dataclass(frozen=True)
class Segment:
    """``frames`` frames of ``utterance`` from frame ``start``."""

    utterance: str
    start: int
    frames: int

    @property
    def id(self) -> str:
        return f"{self.utterance}-{self.frames:04d}-{self.start:05d}"


Speech = Mapping[str, npt.NDArray[np.float32]]


def speech_share(segment: Segment, speech: Speech) -> float:
    """Share of its frames that ``speech`` marks; 1 for an utterance without marks."""
    marks = speech.get(segment.utterance)
    if marks is None:
        return 1.0
    return float(marks[segment.start : segment.start + segment.frames].mean())


def write_segments(path: Path, segments: Sequence[Segment]) -> None:
    """As a Kaldi ``segments`` table: id, utterance, start and end in seconds."""
    write_table(
        path,
        {
            s.id: f"{s.utterance} {s.start / FRAMES_PER_SECOND:.2f} {(s.start + s.frames) / FRAMES_PER_SECOND:.2f}"
            for s in segments
        },
    )


def read_segments(path: Path) -> list[Segment]:
    """The inverse of :func:`write_segments`, in the file's order."""
    segments = []
    for name, value in read_table(path, fields=4).items():
        utterance, start, end = value.split()
        first = round(float(start) * FRAMES_PER_SECOND)
        segments.append(Segment(utterance, first, round(float(end) * FRAMES_PER_SECOND) - first))
        if segments[-1].id != name:
            raise UserError(f"{path}: {name} does not fit its times: run stage 3 again")
    return segments
