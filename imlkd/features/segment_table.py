"""Training segments as arrays, three numbers each: the grid of a million utterances fits a hundred megabytes."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter, eq
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from imlkd.corpora.disk_table import DiskIds, DiskTable, lines_along, values_along
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment, SegmentsConfig, each_segment, segment_id
from imlkd.kaldi_io import FloatArray, OpenArks, sort_ids

Numbers = npt.NDArray[np.int32]
Wide = npt.NDArray[np.int64]
_TOGETHER = 1000  # utterances or segments
_ID_FRAMES, _ID_START = 10_000, 100_000  # from here on a segment's id sorts otherwise than its numbers


@dataclass(frozen=True, eq=False)
class SegmentTable(Sequence[Segment]):
    """Segments in the order of their ids; a ``Segment`` is made when it is asked for.

    :param names: utterances.
    :param utterance: (S,), numbers of names.
    :param start: (S,), frames.
    :param frames: (S,).
    """

    names: Sequence[str]
    utterance: Numbers
    start: Numbers
    frames: Numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    @classmethod
    def of(cls, segments: Sequence[Segment], names: Sequence[str]) -> SegmentTable:
        """A list of segments as a table."""
        order = {name: number for number, name in enumerate(names)}
        columns = np.array([(order[s.utterance], s.start, s.frames) for s in segments], dtype=np.int32).reshape(-1, 3)
        return cls(names, *np.ascontiguousarray(columns.T))

    @classmethod
    def over(cls, segments: Sequence[Segment]) -> SegmentTable:
        """Segments as a table over the utterances that they come from, in C order."""
        if isinstance(segments, SegmentTable):
            return segments
        return cls.of(segments, sort_ids({segment.utterance for segment in segments}))

    def __len__(self) -> int:
        return len(self.utterance)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...
    def __getitem__(self, index: int | slice) -> Segment | list[Segment]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return Segment(self.names[int(self.utterance[index])], int(self.start[index]), int(self.frames[index]))

    def __iter__(self) -> Iterator[Segment]:
        return itertools.starmap(Segment, self._rows())

    def ids(self) -> Iterator[str]:
        """The id of each segment."""
        return itertools.starmap(segment_id, self._rows())

    def _rows(self) -> Iterator[tuple[str, int, int]]:
        """Utterance, start, frames; names are read along, as they lie on the disk."""
        following, taken, last, name = iter(self.names), 0, -1, ""
        own = (self.utterance, self.start, self.frames)
        for first in range(0, len(self), _TOGETHER):
            columns = (column[first : first + _TOGETHER].tolist() for column in own)
            for number, start, frames in zip(*columns, strict=True):
                if number >= taken:
                    name, taken = next(itertools.islice(following, number - taken, None)), number + 1
                elif number != last:
                    name = self.names[number]
                last = number
                yield name, start, frames


def ids_of(segments: Sequence[Segment]) -> Iterator[str]:
    """The id of each segment."""
    return segments.ids() if isinstance(segments, SegmentTable) else (segment.id for segment in segments)


def grid_on_disk(data_dir: Path, config: SegmentsConfig) -> tuple[SegmentTable, list[str], int]:
    """Every segment of every duration that fits an utterance and holds enough speech, in the order of their ids.

    Read from ``utt2num_frames`` and ``vad.scp``, a stretch of utterances at a time.

    :returns: the segments, whose names are the utterances that give any; the first five that give none; their number.
    :raises UserError: when more than ``max_dropped`` of the utterances give no segment.
    """
    lengths, speech = DiskTable(data_dir / "utt2num_frames"), DiskTable(data_dir / "vad.scp")
    ids, grid = DiskIds(lengths), _Grid(config)
    with OpenArks() as arks:
        lines, again = itertools.tee(lengths.lines())
        rows = zip(lines, values_along(speech, (name for name, _ in again)), strict=True)
        while chunk := list(itertools.islice(rows, _TOGETHER)):
            frames = np.array([int(count) for (_, count), _ in chunk])
            marks = [None if place is None else arks.read(place) for _, place in chunk]
            grid.add([name for (name, _), _ in chunk], frames, marks)
            arks.forget()
    utterance, start, frames = (np.concatenate(column) for column in zip(*grid.parts, strict=True))
    if not grid.sorts:
        order = _by_id(SegmentTable(ids, utterance, start, frames))
        utterance, start, frames = utterance[order], start[order], frames[order]
    used = np.zeros(len(ids), bool)
    used[utterance] = True
    lost = np.flatnonzero(~used)
    _refuse_dropped(len(lost), first := [ids[int(number)] for number in lost[:5]], len(ids), config)
    if not len(lost):
        return SegmentTable(ids, utterance, start, frames), [], 0
    renumbered = (np.cumsum(used) - 1).astype(np.int32)[utterance]
    return SegmentTable(DiskIds(lengths, np.flatnonzero(used)), renumbered, start, frames), first, len(lost)


def segments_on_disk(path: Path, utterances: DiskTable, without: Container[str] = frozenset()) -> Sequence[Segment]:
    """``read_segments`` as a table, whose names are those of ``utterances`` that segments come from.

    :param utterances: a table that has them all.
    :param without: ids that are left out.
    :returns: a list where utterances do not sort as their segments do, or the table lacks one.
    :raises UserError: for what ``read_segments`` refuses.
    """
    columns = array("i")
    kept = (segment for segment in each_segment(path) if segment.id not in without)

    def names() -> Iterator[str]:
        for number, (name, own) in enumerate(itertools.groupby(kept, key=attrgetter("utterance"))):
            columns.extend(itertools.chain.from_iterable((number, one.start, one.frames) for one in own))
            yield name

    places = array("i", (-1 if found is None else found[0] for found in lines_along(utterances, names())))
    if not places or -1 in places:
        return [segment for segment in each_segment(path) if segment.id not in without]
    utterance, start, frames = np.ascontiguousarray(np.frombuffer(columns, np.int32).reshape(-1, 3).T)
    return SegmentTable(DiskIds(utterances, np.frombuffer(places, np.int32)), utterance, start, frames)


def _refuse_dropped(count: int, first: list[str], total: int, config: SegmentsConfig) -> None:
    if count > config.max_dropped * total:
        raise UserError(
            f"{count} of {total} utterances give no training segment (first: {' '.join(first)}):"
            f" shorten `durations` or lower `min_speech`, or raise `max_dropped` ({config.max_dropped})"
        )


def _by_id(table: SegmentTable) -> Wide:
    """Places of the segments in the order of their ids."""
    keys = [name.encode() for name in table.ids()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


class _Grid:
    """Collects segments. ``sorts``: whether their ids sort as utterance, frames and start do."""

    def __init__(self, config: SegmentsConfig) -> None:
        self.lengths = sorted({round(seconds * FRAMES_PER_SECOND) for seconds in config.durations})
        self.hop = max(1, round(config.hop * FRAMES_PER_SECOND))
        self.min_speech = config.min_speech
        self.parts: list[tuple[Numbers, Numbers, Numbers]] = []
        self.sorts = self.lengths[-1] < _ID_FRAMES
        self._count, self._last = 0, ""

    def add(self, names: list[str], frames: npt.NDArray[np.integer], marks: list[FloatArray | None]) -> None:
        """Utterances that follow, their lengths, and the marks of speech of those that have some."""
        self.sorts &= int(frames.max()) < _ID_START
        for before, name in zip([self._last, *names], names, strict=False):
            self.sorts &= not (before and name.startswith(before))
        utterance, start, length = self._all(frames)
        spoken = self._shares(utterance, start, length, frames, marks) >= self.min_speech
        kept = (utterance[spoken] + self._count, start[spoken], length[spoken])
        self.parts.append((kept[0].astype(np.int32), kept[1].astype(np.int32), kept[2].astype(np.int32)))
        self._count, self._last = self._count + len(names), names[-1]

    def _all(self, frames: npt.NDArray[np.integer]) -> tuple[Wide, Wide, Wide]:
        """Utterance, start and length of everything that fits."""
        numbers, columns = np.arange(len(frames)), []
        for length in self.lengths:
            counts = np.maximum((frames - length) // self.hop + 1, 0)
            utterance = np.repeat(numbers, counts)
            start = (np.arange(len(utterance)) - np.repeat(np.cumsum(counts) - counts, counts)) * self.hop
            columns.append(np.stack([utterance, start, np.full_like(start, length)]))
        utterance, start, length = np.concatenate(columns, axis=1)
        order = np.lexsort((start, length, utterance))
        return utterance[order], start[order], length[order]

    @staticmethod
    def _shares(
        utterance: Wide, start: Wide, length: Wide, frames: npt.NDArray[np.integer], marks: list[FloatArray | None]
    ) -> npt.NDArray[np.float64]:
        """See ``speech_share``; marks are 0 or 1, and the mean is rounded as that of a float32 array is."""
        rows = [np.ones(n, np.float32) if own is None else own for n, own in zip(frames, marks, strict=True)]
        sums = np.concatenate([np.zeros(1, np.int32), np.cumsum(np.concatenate(rows), dtype=np.int32)])
        sizes = np.array([len(row) for row in rows])
        offset = (np.cumsum(sizes) - sizes)[utterance]
        first = offset + np.minimum(start, sizes[utterance])
        end = offset + np.minimum(start + length, sizes[utterance])
        with np.errstate(invalid="ignore"):  # of no marks at all: no number, which is not enough
            shares = (sums[end] - sums[first]).astype(np.float32) / (end - first).astype(np.float32)
        return np.asarray(shares, dtype=np.float64)
