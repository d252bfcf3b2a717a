"""Audio to play in a page: clips as FLAC inside it, and the trials that a model gets most wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from imlkd.corpora.audio import AudioReader
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.reporting.page.scored import Scored
from imlkd.scoring.metrics import Floats, eer

HARDEST = 4  # trials of each kind and list
SECONDS = 6.0  # of a clip at most
MEGABYTES = 4.0  # of all clips of a page, as text


@dataclass(frozen=True)
class Clip:
    """A recording, or its beginning.

    :param uri: ``data:audio/flac;base64,...``; empty where there is no audio.
    :param said: what there is to say of it: how much of it is here, or why there is nothing to hear.
    """

    utterance: str
    seconds: float
    uri: str
    said: str


@dataclass(frozen=True)
class HardTrial:
    """A trial far on the wrong side.

    :param beyond: how far its score lies beyond the threshold of the EER; below zero where it is on the right side.
    """

    target: bool
    score: float
    beyond: float
    enroll: Clip
    test: Clip


class Clips:
    """Cuts clips from the sets below ``data`` until the page holds ``megabytes`` of them.

    :param wanted: False: no audio goes into the page.
    """

    def __init__(
        self, data: Path, sample_rate: int, wanted: bool = True, allow_pipes: bool = False, megabytes: float = MEGABYTES
    ) -> None:
        self.data, self.sample_rate, self.wanted, self.allow_pipes = data, sample_rate, wanted, allow_pipes
        self.left = round(megabytes * 1e6)
        self._readers: dict[str, AudioReader] = {}

    def reader(self, set_name: str) -> AudioReader:
        """Of one set, opened once."""
        if set_name not in self._readers:
            directory = read_data_dir(self.data / set_name)
            self._readers[set_name] = AudioReader(directory, self.sample_rate, self.allow_pipes)
        return self._readers[set_name]

    def clip(self, set_name: str, utterance: str, seconds: float = SECONDS) -> Clip:
        """The first ``seconds`` of an utterance."""
        if not self.wanted:
            return Clip(utterance, 0.0, "", "no audio: --page-audio false")
        reader = self.reader(set_name)
        if utterance not in reader.data.utt2spk:
            return Clip(utterance, 0.0, "", "no recording of its own")
        whole = reader.num_samples(utterance)
        samples = reader.read(utterance, 0, min(whole, round(seconds * self.sample_rate)))
        uri = flac_uri(samples, self.sample_rate)
        if len(uri) > self.left:
            return Clip(utterance, 0.0, "", "no room: the page holds its share of audio already")
        self.left -= len(uri)
        heard = len(samples) / self.sample_rate
        said = f"first {heard:.1f} s of {whole / self.sample_rate:.1f} s" if whole > len(samples) else f"{heard:.1f} s"
        return Clip(utterance, heard, uri, said)


def flac_uri(samples: np.typing.NDArray[np.float32], sample_rate: int) -> str:
    """(samples,) in [-1, 1) as a data URI of 16-bit FLAC, which every browser plays."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"


def hardest(scored: Scored, model: str, clips: Clips, count: int = HARDEST) -> list[HardTrial]:
    """``count`` targets of the lowest and nontargets of the highest score; an utterance comes once."""
    scores, is_target = scored.scores[model], scored.trials.is_target
    threshold = eer(scores[is_target], scores[~is_target]).threshold
    set_name = scored.name.partition("/")[0]
    found = []
    used: set[str] = set()
    for target in (True, False):
        for index in _worst(scored, scores, target, used, count):
            score = float(scores[index])
            pair = scored.trials.enroll[index], scored.trials.test[index]
            sides = [clips.clip(set_name, one) for one in pair]
            found.append(HardTrial(target, score, threshold - score if target else score - threshold, *sides))
    return found


def _worst(scored: Scored, scores: Floats, target: bool, used: set[str], count: int) -> Iterator[int]:
    """Indices of trials, the worst first, leaving out those with an utterance of ``used``."""
    own = np.flatnonzero(scored.trials.is_target == target)
    order: Sequence[int] = own[np.argsort(scores[own] if target else -scores[own], kind="stable")].tolist()
    for index in order:
        pair = {scored.trials.enroll[index], scored.trials.test[index]}
        if not used & pair:
            used |= pair
            yield index
            count -= 1
        if not count:
            return
