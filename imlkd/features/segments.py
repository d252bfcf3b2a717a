"""Training segments: pieces of utterances, of several durations, on a grid.

A segment's id is ``<utterance>-<frames>-<start>``, both in frames of 10 ms, so that ids sort with their utterance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.config import bounded
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.kaldi_io import read_lines, write_table


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
        return segment_id(self.utterance, self.start, self.frames)


def segment_id(utterance: str, start: int, frames: int) -> str:
    """What a segment is called."""
    return f"{utterance}-{frames:04d}-{start:05d}"


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
    return list(each_segment(path))


def each_segment(path: Path) -> Iterator[Segment]:
    """The segments of a table one after the other: a job that needs its share alone does not hold all.

    :raises UserError: naming file and line, for an empty file and for lines that :func:`write_segments` did not write.
    """
    previous = b""
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 4:
            raise UserError(f"{path}:{number}: expected 4 fields, found {len(fields)}: run stage 3 again")
        segment = _segment_of(fields)
        if segment is None or segment.id != fields[0]:
            raise UserError(f"{path}:{number}: {fields[0]} does not fit its times: run stage 3 again")
        if fields[0].encode() <= previous:
            raise UserError(f"{path}:{number}: {fields[0]} is there twice, or not in C order: run stage 3 again")
        previous = fields[0].encode()
        yield segment
    if not previous:
        raise UserError(f"{path}: empty file: expected at least one line")


def _segment_of(fields: list[str]) -> Segment | None:
    """From id, utterance, start and end in seconds; None where these are no numbers."""
    try:
        first, end = (round(float(seconds) * FRAMES_PER_SECOND) for seconds in fields[2:])
    except (ValueError, OverflowError):
        return None
    return Segment(fields[1], first, end - first)
