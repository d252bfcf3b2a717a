"""Embeddings of audio that arrives in pieces: the same as of the whole at once.

What can be let go on the way depends on the model. A student whose frame layers look a few frames around and whose
pooling takes mean and deviation (``tdnn``, ``xvector``), and that takes nothing from the features (``normalize:
none``), keeps sums and as many frames as its layers reach: its memory does not grow. All others keep their features,
32 kB a second, since nearly every network looks at the whole utterance somewhere (level or mean frame taken away,
squeeze-excitation, attention); with another front-end than the recipe's log mel the audio itself is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.export.embedder import WaveformEmbedder, min_samples
from imlkd.export.front_end import LogMelGraph, frames_of
from imlkd.features.fbank import LogMel
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.tdnn import Tdnn
from imlkd.models.xvector import KERNELS, Xvector

BLOCK = 64  # frames that go through the layers at a time


def constant_memory(model: SpeakerModel) -> bool:
    """Whether a stream of this model keeps sums instead of features."""
    if not isinstance(model, Tdnn | Xvector) or not isinstance(model.frontend, LogMel):
        return False
    padded = isinstance(model, Tdnn) or model.config.padding == "zeros"
    return bool(padded and model.normalization.kind == "none")


class EmbeddingStream:
    """``accept`` audio, then ask for the ``embedding`` of all of it; going on afterwards is possible.

    >>> stream = EmbeddingStream(model)  # doctest: +SKIP
    >>> for chunk in chunks: stream.accept(chunk)  # doctest: +SKIP
    >>> stream.embedding()  # doctest: +SKIP
    """

    def __init__(self, model: SpeakerModel) -> None:
        self.model = model.eval()
        self.samples = 0
        self._features = _FeatureStream(LogMelGraph(model.frontend)) if isinstance(model.frontend, LogMel) else None
        front_end = WaveformEmbedder(model).front_end if self._features is None else self._features.front
        self._shortest = min_samples(model, front_end)
        self._kept: list[Tensor] = []
        self._sums = _Sums(model) if constant_memory(model) else None

    @torch.no_grad()
    def accept(self, chunk: Tensor) -> None:
        """The next samples, (n,) float32 in [-1, 1] at the model's rate; n may be 0."""
        if chunk.ndim != 1:
            raise UserError(f"audio of shape {tuple(chunk.shape)}: expected one channel")
        self.samples += len(chunk)
        frames = chunk if self._features is None else self._features.accept(chunk)
        if self._sums is None:
            self._kept.append(frames)
        else:
            self._sums.accept(frames)

    @torch.no_grad()
    def embedding(self) -> Tensor:
        """(D,) of length 1, of all audio so far.

        :raises UserError: when that is shorter than the layers need.
        """
        if self.samples < self._shortest:
            raise UserError(f"audio of {self.samples} samples: the model needs {self._shortest} or more")
        if self._features is None:
            return self.model.embed(torch.cat(self._kept))
        last = self._features.last()
        if self._sums is not None:
            return functional.normalize(self._sums.embedding(last), dim=0)
        features = torch.cat([*self._kept, last])[None]
        output = self.model.encode(features, torch.tensor([features.shape[1]]))
        return functional.normalize(output.embedding)[0]


class _FeatureStream:
    """Log-mel frames as soon as their window is complete; the mirrored ends when they are asked for."""

    def __init__(self, front: LogMelGraph) -> None:
        self.front = front
        self._audio = torch.empty(0)  # from the first sample of the next frame's window on
        self._begun = False
        self._samples, self._frames = 0, 0

    def accept(self, chunk: Tensor) -> Tensor:
        """(n,) -> (frames, F), those that have become complete."""
        self._audio = torch.cat([self._audio, chunk])
        self._samples += len(chunk)
        if not self._begun:
            if self._samples < self.front.size:
                return self._made(0)
            self._audio = torch.cat([self._audio[: self.front.before].flip(0), self._audio])
            self._begun = True
        count = max(0, 1 + (len(self._audio) - self.front.size) // self.front.hop)
        made = self._made(count)
        self._frames += count
        self._audio = self._audio[count * self.front.hop :]
        return made

    def last(self) -> Tensor:
        """Frames whose window reaches over the end."""
        front = self.front
        left = (self._samples + front.hop // 2) // front.hop - self._frames
        end = self._audio[-front.size :].flip(0)
        frames: Tensor = self.front.mel(self._windows(torch.cat([self._audio, end]), left))[0]
        return frames

    def _made(self, count: int) -> Tensor:
        if not count:
            return torch.empty(0, self.front.mel.power.bank.shape[1])
        frames: Tensor = self.front.mel(self._windows(self._audio, count))[0]
        return frames

    def _windows(self, audio: Tensor, count: int) -> Tensor:
        padded = functional.pad(audio, (0, self.front.hop))[None]
        return frames_of(padded, count, self.front.size, self.front.hop)


class _Sums:
    """Frame layers on a sliding piece of the features, mean and deviation from running sums.

    A piece begins ``reach`` frames before the first output that is wanted from it and ends ``reach`` behind the last,
    so that none of them sees a border that is not the utterance's.
    """

    def __init__(self, model: SpeakerModel) -> None:
        assert isinstance(model, Tdnn | Xvector)
        self.model = model
        self.stride = 2 if isinstance(model, Tdnn) else 1
        if isinstance(model, Tdnn):
            self.reach = 2 + 2 * sum(1 + i for i in range(model.config.blocks))
        else:
            self.reach = sum(dilation * (kernel - 1) // 2 for kernel, dilation in KERNELS)
        self.reach += self.reach % self.stride
        self._features = torch.empty(0, model.frontend.dim)
        self._before = 0  # frames of ``_features`` whose output is already summed
        self._total: list[Tensor] = []  # count, sum and sum of squares, in double precision

    def accept(self, features: Tensor) -> None:
        self._features = torch.cat([self._features, features])
        while len(self._features) - self._before >= BLOCK + self.reach:
            self._total = self._with(self._outputs(self._features[: self._before + BLOCK + self.reach], BLOCK))
            dropped = max(0, self._before + BLOCK - self.reach)
            self._features, self._before = self._features[dropped:], self._before + BLOCK - dropped

    def embedding(self, last: Tensor) -> Tensor:
        """Of all frames so far and the ``last`` ones, which are not kept."""
        features = torch.cat([self._features, last])
        count, total, squares = self._with(self._outputs(features, len(features) - self._before))
        mean = total / count
        spread = squares - total * mean
        if isinstance(self.model, Tdnn):
            deviation = (spread / count + 1e-5).sqrt()
        else:
            deviation = (spread / (count - 1).clamp(min=1) + self.model.floor).sqrt()
        pooled = torch.cat([mean, deviation]).float()[None]
        segment = self.model.segment(pooled)
        whole: Tensor = segment if isinstance(self.model, Tdnn) else self.model.second(segment)
        return whole[0]

    def _outputs(self, features: Tensor, count: int) -> Tensor:
        """What is pooled, (C, outputs), of ``count`` frames from ``_before`` on."""
        first = self._before // self.stride
        return self._layers(features)[:, first : first + -(-count // self.stride)]

    def _layers(self, features: Tensor) -> Tensor:
        stages = self.model.encode(features[None], torch.tensor([len(features)])).stages
        pooled: Tensor = self.model.last(stages[-1]) if isinstance(self.model, Tdnn) else stages[-1]
        return pooled[0]

    def _with(self, outputs: Tensor) -> list[Tensor]:
        wide = outputs.double()
        own = [torch.tensor(float(outputs.shape[1]), dtype=torch.float64), wide.sum(1), wide.square().sum(1)]
        return [a + b for a, b in zip(self._total, own, strict=True)] if self._total else own
