"""Batches of segments: every utterance once an epoch, one duration a batch, drawn from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imlkd.corpora.disk_table import ByName
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segment_table import SegmentTable
from imlkd.features.segments import Segment
from imlkd.training.frames import LazyFrames

Indices = npt.NDArray[np.int64]


@dataclass
class SegmentPool:
    """Features, in memory or not, and the segments that training may draw.

    :param frames: (total frames, F), utterances one after the other; or what reads them when they are asked for.
    :param offsets: first row of each utterance.
    :param labels: class of each utterance.
    """

    frames: Tensor | LazyFrames
    offsets: Mapping[str, int]
    labels: Mapping[str, int]
    segments: Sequence[Segment]

    def __post_init__(self) -> None:
        if not self.segments:
            raise UserError("no training segments: the data directory is empty or its utterances are too short")
        own = self.segments
        table = own if isinstance(own, SegmentTable) else SegmentTable.of(own, list(self.offsets))
        self._utterance, self._start, self._frames = table.utterance, table.start, table.frames
        self._offset, self._class = (values_of(mapping, table.names) for mapping in (self.offsets, self.labels))
        self._held = np.zeros(len(own), dtype=bool)

    @property
    def durations(self) -> npt.NDArray[np.int32]:
        """(S,) frames of each segment."""
        return self._frames

    def class_sizes(self) -> dict[int, int]:
        """Utterances of each class."""
        labels, counts = np.unique(self._class, return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    def of_classes(self, labels: set[int]) -> Indices:
        """The segments of these classes."""
        wanted = np.isin(self._class, list(labels))
        return np.flatnonzero(wanted[self._utterance])

    def crops(self, chosen: Indices) -> Tensor:
        """(B, T, F) of segments of one duration."""
        return self.frames[self._rows(chosen)]

    def clean_crops(self, chosen: Indices, crops: Tensor) -> Tensor:
        """What a teacher hears: ``crops``, or where these are augmented, the same ones clean."""
        if isinstance(self.frames, LazyFrames) and self.frames.is_augmented:
            return self.frames.clean(self._rows(chosen))
        return crops

    def waveforms(self, chosen: Indices) -> list[Tensor] | None:
        """(samples,) of each crop as it is heard, where that is augmented; None: it is the clean one."""
        return self.frames.waveforms(self._rows(chosen)) if isinstance(self.frames, LazyFrames) else None

    def _rows(self, chosen: Indices) -> Tensor:
        starts = self._offset[self._utterance[chosen]] + self._start[chosen]
        return torch.from_numpy(starts[:, None] + np.arange(self._frames[chosen[0]])[None, :])

    def at_epoch(self, epoch: int) -> None:
        """What is augmented, is from now on as in this epoch."""
        if isinstance(self.frames, LazyFrames):
            self.frames.epoch = epoch

    def classes(self, chosen: Indices) -> Tensor:
        """(B,) class indexes."""
        return torch.from_numpy(self._class[self._utterance[chosen]])

    def hold_out(self, labels: set[int]) -> None:
        """Draw no segment of these classes any more."""
        self._held[self.of_classes(labels)] = True
        if self._held.all():
            raise UserError("no training segments: all speakers are held out: lower training.dev_speakers")

    def keep_longest(self) -> None:
        """Draw only segments of each utterance's longest duration."""
        longest = np.zeros(len(self._offset), dtype=self._frames.dtype)
        np.maximum.at(longest, self._utterance, self._frames)
        self._held |= self._frames < longest[self._utterance]

    def keep_duration(self, seconds: float) -> None:
        """Draw only segments of this duration.

        :raises UserError: when there is none.
        """
        self._held |= self._frames != round(seconds * FRAMES_PER_SECOND)
        if self._held.all():
            known = ", ".join(f"{frames / FRAMES_PER_SECOND:g}" for frames in np.unique(self._frames)[:10])
            raise UserError(f"training.duration: no training segment has {seconds:g} s: there are {known} s")

    def epoch_batches(self, frames_per_batch: int, crops: int, seed: int, epoch: int) -> list[Indices]:
        """Batches of segment indexes for one epoch; equal frames a batch, so short segments come in larger batches.

        A duration that one utterance alone has drawn waits for another epoch: batch statistics need two segments.
        """
        generator = np.random.default_rng([seed, epoch])
        drawn = np.concatenate([self._one_of_each(generator) for _ in range(crops)])
        batches: list[Indices] = []
        for duration in np.unique(self._frames[drawn]):
            own = generator.permutation(drawn[self._frames[drawn] == duration])
            count = round(len(own) / max(2, frames_per_batch // int(duration)))
            count = min(max(1, count), len(own) // 2)
            batches += np.array_split(own, count) if count else []
        if not batches:
            raise UserError("no two training segments of one duration: the data is too little to train on")
        return [batches[i] for i in generator.permutation(len(batches))]

    def _one_of_each(self, generator: np.random.Generator) -> Indices:
        """One segment of every utterance that has one to be drawn: first a duration that it has, then a place."""
        key = generator.random(len(self.segments))
        order = np.lexsort((key, self._frames, self._utterance))
        order = order[~self._held[order]]
        groups = np.flatnonzero(
            np.diff(self._utterance[order], prepend=-1) | np.diff(self._frames[order], prepend=-1)
        )
        firsts = order[groups]  # a random place for each (utterance, duration)
        order = np.lexsort((generator.random(len(firsts)), self._utterance[firsts]))
        chosen: Indices = firsts[order][np.flatnonzero(np.diff(self._utterance[firsts][order], prepend=-1))]
        return chosen


def values_of(mapping: Mapping[str, int], names: Sequence[str]) -> Indices:
    """The numbers of ``names``, in their order."""
    if isinstance(mapping, ByName) and mapping.names is names:
        return mapping.array.astype(np.int64, copy=False)
    return np.array([mapping[name] for name in names], dtype=np.int64)
