"""Waveforms of a data directory as tensors: whole utterances or segments of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.corpora.audio import AudioProblem, AudioReader, DiskAudioReader, Source, named, probe, read_source
from imlkd.corpora.disk_table import DiskIds, DiskTable
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment
from imlkd.kaldi_io import sort_ids


class SpeechReader:
    """Reads utterances of a data directory that stage 0 has checked; the last one is kept for its segments."""

    def __init__(self, data_dir: Path | str, sample_rate: int, allow_pipes: bool = False) -> None:
        data = read_data_dir(data_dir)
        self.names = sort_ids(data.utt2spk)
        self.sample_rate = sample_rate
        self._audio = AudioReader(data, sample_rate, allow_pipes)
        self._last: tuple[str, Tensor] = ("", torch.empty(0))

    def utterance(self, name: str) -> Tensor:
        """(samples,) float32 in [-1, 1)."""
        if self._last[0] != name:
            self._last = (name, torch.from_numpy(self._audio.read(name)))
        return self._last[1]

    def part(self, name: str, first: int, count: int) -> Tensor:
        """Samples ``first`` to ``first + count`` of an utterance, or to its end; only they are decoded."""
        return torch.from_numpy(self._audio.read(name, first, count))

    def segment(self, segment: Segment) -> Tensor:
        """Exactly ``frames`` frames' worth of samples; behind the utterance's end zeros, half a frame at most."""
        return cut_out(self.utterance(segment.utterance), segment, self.sample_rate)


class PartReader:
    """Parts of utterances, for a training that draws crops: the tables of ``data_dir`` stay on the disk."""

    def __init__(self, data_dir: Path | str, sample_rate: int, allow_pipes: bool = False) -> None:
        self.sample_rate, self._folder = sample_rate, Path(data_dir)
        self._audio = DiskAudioReader(self._folder, sample_rate, allow_pipes)

    @property
    def names(self) -> Sequence[str]:
        """All utterances, in C order."""
        return DiskIds(DiskTable(self._folder / "utt2spk"))

    def utterance(self, name: str) -> Tensor:
        """(samples,) float32 in [-1, 1)."""
        return torch.from_numpy(self._audio.read(name))

    def part(self, name: str, first: int, count: int) -> Tensor:
        """Samples ``first`` to ``first + count`` of an utterance, or to its end; only they are decoded."""
        return torch.from_numpy(self._audio.read(name, first, count))

    def segment(self, segment: Segment) -> Tensor:
        """As ``SpeechReader.segment``."""
        first, count = _samples_of(segment, self.sample_rate)
        return _padded(self.part(segment.utterance, first, count), count)


def cut_out(waveform: Tensor, segment: Segment, sample_rate: int) -> Tensor:
    """The segment's samples of its utterance's (samples,), zeros where they end before it."""
    first, count = _samples_of(segment, sample_rate)
    return _padded(waveform[first : first + count], count)


def _samples_of(segment: Segment, sample_rate: int) -> tuple[int, int]:
    """First sample and number of samples."""
    hop = sample_rate // FRAMES_PER_SECOND
    return segment.start * hop, segment.frames * hop


def _padded(samples: Tensor, count: int) -> Tensor:
    return functional.pad(samples, (0, count - len(samples)))


def read_file(path: Path, sample_rate: int) -> Tensor:
    """A mono audio file, (samples,) float32 in [-1, 1).

    :raises AudioProblem: when it cannot be read, or is sampled at another rate.
    """
    source = Source(path.name, str(path), False, "audio")
    heard = probe(source).sample_rate
    if heard != sample_rate:
        raise AudioProblem(
            named(source),
            f"sampled at {heard} Hz, the model hears {sample_rate} Hz",
            f"resample (`sox IN -r {sample_rate} OUT`)",
        )
    return torch.from_numpy(read_source(source, sample_rate))
