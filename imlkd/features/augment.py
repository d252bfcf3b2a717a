"""Speech made worse on purpose, on the fly: what is done to an utterance depends on seed, epoch and utterance alone.

So a resumed training hears what an uninterrupted one would have heard, however many workers there are. Everything
keeps the samples where they are and as many as they were: a crop for the teacher and its noisy copy for the student
lie on each other. Speed is not among it, it changes the length: see ``imlkd.features.speed``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imlkd.config import bounded, chosen, text
from imlkd.errors import UserError
from imlkd.features.sounds import Sounds

if TYPE_CHECKING:
    from torch import Tensor

_SPEC, _WAVE = 1, 0  # two streams of random numbers an utterance: masks do not move with the noise

AUDIBLE = 1e-3  # of full scale; what is softer a telephone may round to silence


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to how many of the utterances; all off by default."""

    sounds: str = text("", help="noise, music, voices and rooms: folders (MUSAN, RIRS_NOISES), scp files or manifests")
    room: float = bounded(0.0, low=0.0, high=1.0, help="share heard in a room")
    noise: float = bounded(0.0, low=0.0, high=1.0, help="share with noise")
    noise_snr: list[float] = bounded([0.0, 15.0], low=-20.0, high=60.0, help="dB, from and to")
    music: float = bounded(0.0, low=0.0, high=1.0, help="share with music")
    music_snr: list[float] = bounded([5.0, 15.0], low=-20.0, high=60.0, help="dB, from and to")
    babble: float = bounded(0.0, low=0.0, high=1.0, help="share with other voices")
    babble_snr: list[float] = bounded([13.0, 20.0], low=-20.0, high=60.0, help="dB, from and to")
    babble_voices: list[int] = bounded([3, 7], low=1, high=20, help="voices, from and to")
    one_of: str = chosen("one", ("one", "each"), help="of noise, music and babble: one at most, or each for itself")
    volume: float = bounded(0.0, low=0.0, high=1.0, help="share at another level")
    volume_db: list[float] = bounded([-10.0, 5.0], low=-60.0, high=40.0, help="dB, from and to")
    clipping: float = bounded(0.0, low=0.0, high=1.0, help="share recorded too loud")
    clipping_db: list[float] = bounded([3.0, 12.0], low=0.0, high=40.0, help="too loud by, dB, from and to")
    telephone: float = bounded(0.0, low=0.0, high=1.0, help="share through a telephone: 300 to 3400 Hz, G.711 or GSM")
    codec: float = bounded(0.0, low=0.0, high=1.0, help="share through Vorbis or Opus")
    time_mask: float = bounded(0.0, low=0.0, high=0.9, help="SpecAugment: longest stretch hidden, share of the frames")
    bin_mask: float = bounded(0.0, low=0.0, high=0.9, help="SpecAugment: widest band hidden, share of the bins")
    masks: int = bounded(1, low=1, high=10, help="SpecAugment: of each kind")
    seed: int = bounded(1, low=0, help="of all of it")

    @property
    def changes_audio(self) -> bool:
        """Whether waveforms are needed."""
        names = ("room", "noise", "music", "babble", "volume", "clipping", "telephone", "codec")
        return any(getattr(self, name) > 0 for name in names)

    @property
    def masks_features(self) -> bool:
        """Whether features are hidden."""
        return self.time_mask > 0 or self.bin_mask > 0

    @property
    def is_on(self) -> bool:
        """Whether anything is done at all."""
        return self.changes_audio or self.masks_features


class Augmenter:
    """Applies an ``AugmentConfig`` to crops of one sampling rate.

    :raises UserError: for a collection that is not there or lacks what is asked for, and ranges of other than two ends.
    """

    def __init__(self, config: AugmentConfig, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        self.sounds = Sounds(sample_rate)
        for where in config.sounds.split(","):
            if where:
                self.sounds.add(Path(where))
        _check(config, self.sounds)

    def augmented(self, waveform: Tensor, utterance: str, epoch: int) -> Tensor:
        """(samples,) float32 in [-1, 1] -> as many; ``utterance`` may be any name, a segment's too.

        :raises UserError: when what comes out is not finite, or silent though the input is audible.
        """
        random = generator(self.config.seed, utterance, epoch, _WAVE)
        changed = self._channel(self._scene(waveform, random), random)
        peak = max(map(abs, map(float, changed.aminmax()))) if len(changed) else 0.0
        if not np.isfinite(peak) or (peak == 0.0 and bool((waveform.abs() > AUDIBLE).any())):
            raise UserError(f"augment: {utterance}: NaN, infinite or all-zero samples came out in epoch {epoch}")
        return changed / peak if peak > 1.0 else changed

    def pair(self, waveform: Tensor, utterance: str, epoch: int) -> tuple[Tensor, Tensor]:
        """Clean for the teacher and noisy for the student: the same samples of the same speech."""
        return waveform, self.augmented(waveform, utterance, epoch)

    def masked(self, features: Tensor, utterance: str, epoch: int) -> Tensor:
        """SpecAugment (Park et al., Interspeech 2019) without warping: stretches and bands at the mean frame.

        :param features: (T, F).
        """
        if not self.config.masks_features:
            return features
        random = generator(self.config.seed, utterance, epoch, _SPEC)
        masked, mean = features.clone(), features.mean(0)
        for _ in range(self.config.masks):
            first, end = _stretch(len(features), self.config.time_mask, random)
            masked[first:end] = mean
            first, end = _stretch(features.shape[1], self.config.bin_mask, random)
            masked[:, first:end] = mean[first:end]
        return masked

    def _scene(self, speech: Tensor, random: np.random.Generator) -> Tensor:
        """The room and what else sounds in it."""
        import torch

        from imlkd.features.mixing import in_room, with_noise

        config = self.config
        if _happens(config.room, random):
            speech = in_room(speech, torch.from_numpy(self.sounds.response(random)))
        for kind in self._kinds(random):
            snr = _uniform(getattr(config, f"{kind}_snr"), random)
            speech = with_noise(speech, self._sound(kind, len(speech), random), snr)
        return speech

    def _kinds(self, random: np.random.Generator) -> list[str]:
        kinds = [kind for kind in ("noise", "music", "babble") if _happens(getattr(self.config, kind), random)]
        if self.config.one_of == "one" and len(kinds) > 1:
            return [kinds[int(random.integers(len(kinds)))]]
        return kinds

    def _sound(self, kind: str, samples: int, random: np.random.Generator) -> Tensor:
        import torch

        from imlkd.features.mixing import babble

        if kind != "babble":
            return torch.from_numpy(self.sounds.piece(kind, samples, random))
        low, high = self.config.babble_voices
        count = int(random.integers(low, high + 1))
        return babble([torch.from_numpy(self.sounds.piece("voice", samples, random)) for _ in range(count)])

    def _channel(self, speech: Tensor, random: np.random.Generator) -> Tensor:
        """The recorder and the line."""
        from imlkd.features import channel

        config = self.config
        if _happens(config.volume, random):
            speech = channel.louder(speech, _uniform(config.volume_db, random))
        if _happens(config.clipping, random):
            speech = channel.clipped(speech, _uniform(config.clipping_db, random))
        if _happens(config.telephone, random):
            speech = channel.telephone(speech, self.sample_rate, _one(list(channel.TELEPHONE_CODECS), random))
        if _happens(config.codec, random):
            speech = channel.coded(speech, self.sample_rate, _one(list(channel.CODECS), random))
        return speech


def generator(seed: int, utterance: str, epoch: int, stream: int = 0) -> np.random.Generator:
    """Random numbers of an utterance in an epoch."""
    digest = hashlib.sha256(utterance.encode()).digest()
    return np.random.default_rng([seed, epoch, stream, *np.frombuffer(digest[:16], "<u4").tolist()])


def _check(config: AugmentConfig, sounds: Sounds) -> None:
    for name in ("noise_snr", "music_snr", "babble_snr", "babble_voices", "volume_db", "clipping_db"):
        ends = getattr(config, name)
        if len(ends) != 2 or ends[0] > ends[1]:
            raise UserError(f"augment.{name}: expected two numbers, from and to, found {ends}")
    for key, kind in (("room", "rir"), ("noise", "noise"), ("music", "music"), ("babble", "voice")):
        if getattr(config, key) > 0 and not sounds.files[kind]:
            found = ", ".join(f"{len(paths)} {one}" for one, paths in sounds.files.items())
            raise UserError(
                f"augment.{key}: {getattr(config, key)}, but augment.sounds ({config.sounds or 'empty'}) holds no "
                f"{kind} ({found}): name a collection that does, or set it to 0"
            )


def _happens(share: float, random: np.random.Generator) -> bool:
    """A number is drawn whatever the share, so that one option does not move the others."""
    return bool(random.random() < share)


def _uniform(ends: list[float], random: np.random.Generator) -> float:
    return float(random.uniform(ends[0], ends[1]))


def _one(names: list[str], random: np.random.Generator) -> str:
    return names[int(random.integers(len(names)))]


def _stretch(length: int, share: float, random: np.random.Generator) -> tuple[int, int]:
    """First and end of a stretch of a length up to ``share`` of the whole."""
    width = int(random.random() * share * length)
    first = int(random.integers(0, length - width + 1))
    return first, first + width
