"""Waveforms of a data directory as tensors: whole utterances or segments of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.corpora.audio import AudioReader
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
        hop = self.sample_rate // FRAMES_PER_SECOND
        first, count = segment.start * hop, segment.frames * hop
        samples = self.utterance(segment.utterance)[first : first + count]
        return functional.pad(samples, (0, count - len(samples)))
