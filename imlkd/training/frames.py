"""Feature frames that are read when a batch needs them: from arks, Lhotse's storage, Shar, or computed from the audio.

A ``FrameStore`` stands where the whole matrix of a corpus would: rows of all utterances one after the other. All four
give the same numbers; they differ in what they hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imlkd.config import chosen, text
from imlkd.corpora.disk_table import ByName, DiskTable
from imlkd.corpora.lhotse.storages import refuse_unsafe
from imlkd.corpora.selection import spread
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig, Augmenter
from imlkd.features.fbank import FRAMES_PER_SECOND, FbankConfig, LogMel
from imlkd.features.segments import Segment
from imlkd.features.speech import PartReader, cut_out
from imlkd.kaldi_io import read_array

_MARGIN = 2  # frames read on both sides of a crop: a window of 25 ms reaches less than two hops beyond its frame
_MEAN_OF = 500  # utterances that the mean frame is taken from
_TOGETHER = 8  # crops that go through the filterbank at once: more than fit a core's cache are slower again


@dataclass(frozen=True)
class FramesConfig:
    """Where training takes its feature frames from."""

    source: str = chosen(
        "memory", ("memory", "ark", "audio", "lhotse", "shar"),
        help="feats.scp in memory; feats.scp from the disk; computed from the audio; Lhotse cuts with features; Shar",
    )  # fmt: skip
    path: str = text("", help="of the cuts (lhotse) or the folder (shar)")


class FrameStore(Protocol):
    """Frames of utterances, by name."""

    def crop(self, utterance: str, start: int, frames: int) -> Tensor:
        """(frames, F) of an utterance, from frame ``start`` on, unaugmented."""


@dataclass
class LazyFrames:
    """A matrix of frames that is not there as a whole; what ``SegmentPool`` asks of a tensor it answers.

    :param lengths: frames of each utterance, in the order of their rows.
    :param epoch: what augmentation depends on; the pool sets it.
    """

    store: FrameStore
    lengths: ByName
    epoch: int = 0
    offsets: ByName = field(init=False)

    def __post_init__(self) -> None:
        self._names, self._lengths = self.lengths.names, self.lengths.array
        self._starts = np.cumsum(self._lengths, dtype=np.int64) - self._lengths
        self.offsets = ByName(self._names, self._starts)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, T) rows, consecutive in each line -> (B, T, F), augmented as they are in this epoch."""
        return self._crops(rows, self.epoch)

    def clean(self, rows: Tensor) -> Tensor:
        """The same crops, (B, T, F), unaugmented."""
        return self._crops(rows, None)

    def waveforms(self, rows: Tensor) -> list[Tensor] | None:
        """(samples,) of each of the same crops, augmented; None where the audio is left as it is."""
        store = self.store
        if not isinstance(store, AudioFrames) or store.augmenter is None or not store.augmenter.config.changes_audio:
            return None
        return [store.waveform(segment, self.epoch) for segment in self._segments(rows)]

    @property
    def is_augmented(self) -> bool:
        """Whether crops differ from clean ones."""
        return isinstance(self.store, AudioFrames) and self.store.augmenter is not None

    def mean(self, dim: int) -> Tensor:
        """The mean frame (F,), unaugmented, of all utterances or of 500 spread evenly."""
        some = spread(range(len(self._names)), _MEAN_OF)
        crops = (self.store.crop(self._names[i], 0, int(self._lengths[i])).double() for i in some)
        total = torch.stack([crop.sum(dim) for crop in crops]).sum(0)
        return (total / int(self._lengths[some].sum())).float()

    def _crops(self, rows: Tensor, epoch: int | None) -> Tensor:
        segments = self._segments(rows)
        if isinstance(self.store, AudioFrames):
            return torch.stack(self.store.crops(segments, epoch))
        return torch.stack([self.store.crop(one.utterance, one.start, one.frames) for one in segments])

    def _segments(self, rows: Tensor) -> list[Segment]:
        """What lies in each line of rows."""
        found = []
        for row in rows[:, 0].tolist():
            index = int(np.searchsorted(self._starts, row, side="right")) - 1
            found.append(Segment(self._names[index], row - int(self._starts[index]), rows.shape[1]))
        return found


class ArkFrames:
    """``feats.scp``, an array read at a time."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = places

    def crop(self, utterance: str, start: int, frames: int) -> Tensor:
        """(frames, F)."""
        return torch.from_numpy(read_array(f"{self.places[utterance]}[{start}:{start + frames - 1}]"))


class ArrayFrames:
    """Matrices that a function brings, by utterance."""

    def __init__(self, load: Callable[[str], Any]) -> None:
        self.load = load

    def crop(self, utterance: str, start: int, frames: int) -> Tensor:
        """(frames, F)."""
        return torch.from_numpy(np.asarray(self.load(utterance)[start : start + frames], dtype=np.float32))


class AudioFrames:
    """Computed from the audio by the front-end of ``features.yaml``, only around the frames that are asked for.

    :param augmenter: what is done to the audio, and to the frames, of a crop; None: nothing.
    """

    def __init__(self, reader: PartReader, fbank: FbankConfig, augmenter: Augmenter | None = None) -> None:
        self.reader, self.frontend, self.augmenter = reader, LogMel(fbank), augmenter
        self._hop = fbank.sample_rate // FRAMES_PER_SECOND

    def crop(self, utterance: str, start: int, frames: int) -> Tensor:
        """(frames, F), as clean as the audio."""
        return self.crops([Segment(utterance, start, frames)], None)[0]

    def crops(self, segments: Sequence[Segment], epoch: int | None) -> list[Tensor]:
        """(frames, F) of each, augmented as it is in an epoch; None: as clean as the audio."""
        found: list[Tensor] = []
        for first in range(0, len(segments), _TOGETHER):
            own = segments[first : first + _TOGETHER]
            heard, skipped = zip(*(self._heard(segment, epoch) for segment in own), strict=True)
            whole = self.frontend.of_several(heard)
            for segment, skip, features in zip(own, skipped, whole, strict=True):
                crop = features[skip : skip + segment.frames]
                if self.augmenter is not None and epoch is not None:
                    crop = self.augmenter.masked(crop, segment.id, epoch)
                found.append(crop)
        return found

    def waveform(self, segment: Segment, epoch: int) -> Tensor:
        """(samples,) of a crop as it is heard in an epoch: the audio behind ``crops``, without its margin."""
        heard, skipped = self._heard(segment, epoch)
        return cut_out(heard, replace(segment, start=skipped), self.frontend.sample_rate)

    def _heard(self, segment: Segment, epoch: int | None) -> tuple[Tensor, int]:
        """Samples of the crop and a margin on both sides, and how many frames that margin has in front."""
        first = max(0, segment.start - _MARGIN)
        count = (segment.start + segment.frames + _MARGIN - first) * self._hop
        waveform = self.reader.part(segment.utterance, first * self._hop, count)
        if self.augmenter is not None and epoch is not None:
            waveform = self.augmenter.augmented(waveform, segment.id, epoch)
        return waveform, segment.start - first


def lhotse_frames(path: Path) -> ArrayFrames:
    """Features of a manifest of cuts (``cut.load_features``), read when they are needed.

    :raises UserError: for a cut without features, or with some that cannot be read, or not safely.
    """
    from imlkd.corpora.lhotse.cuts import read_cuts

    cuts = {cut.id: cut for cut in read_cuts(path)}
    without = [name for name, cut in cuts.items() if not cut.has_features]
    if without:
        raise UserError(f"{path}: {len(without)} cuts have no features (first: {without[0]}): compute them, or audio")
    for name, cut in cuts.items():
        refuse_unsafe(cut.features, f"{path}: cut {name}")
    return ArrayFrames(lambda name: _features_of(cuts[name], path))


def _features_of(cut: Any, path: Path) -> Any:
    try:
        return cut.load_features()
    except Exception as error:  # Lhotse raises whatever its storages meet
        raise UserError(f"{path}: cut {cut.id}: features can't be read ({_reason(error)}): make them anew") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def shar_frames(folder: Path) -> ArrayFrames:
    """Features of a Lhotse Shar, which is read once from beginning to end, and kept.

    :raises UserError: when it is none, damaged, or has no field ``features``.
    """
    from lhotse import CutSet, MonoCut

    if not list(folder.glob("features.*.tar")):
        raise UserError(f"{folder}: no Shar with features: `imlkd data to-shar` writes them for a set with feats.scp")
    arrays = {}
    try:
        for cut in CutSet.from_shar(in_dir=folder):
            if not isinstance(cut, MonoCut):
                raise UserError(f"{folder}: holds a {type(cut).__name__}, expected mono cuts")
            refuse_unsafe(cut.features, f"{folder}: cut {cut.id}")
            arrays[cut.id] = cut.load_features()
    except UserError:
        raise
    except Exception as error:  # Lhotse raises whatever its readers of tar files meet
        raise UserError(f"{folder}: damaged, or no Shar ({_reason(error)}): make it anew (data to-shar)") from error
    return ArrayFrames(arrays.__getitem__)


def frame_store(
    config: FramesConfig, data_dir: Path, fbank: FbankConfig, augment: AugmentConfig | None = None,
    allow_pipes: bool = False,
) -> FrameStore:  # fmt: skip
    """The store that a configuration asks for; augmentation needs the audio.

    :raises UserError: when augmentation is on and the source is not audio, or a path lacks.
    """
    if augment is not None and augment.is_on and config.source != "audio":
        raise UserError(f"augment: changes what is heard, so frames.source has to be audio, not {config.source}")
    if config.source == "audio":
        augmenter = Augmenter(augment, fbank.sample_rate) if augment is not None and augment.is_on else None
        return AudioFrames(PartReader(data_dir, fbank.sample_rate, allow_pipes), fbank, augmenter)
    if config.source in ("lhotse", "shar"):
        if not config.path:
            raise UserError(f"frames.source: {config.source}: needs frames.path: set it")
        return (lhotse_frames if config.source == "lhotse" else shar_frames)(Path(config.path))
    return ArkFrames(DiskTable(data_dir / "feats.scp"))
