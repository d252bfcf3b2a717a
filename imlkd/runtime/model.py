"""The one interface of a finished model, whatever file it comes from: waveform in, speaker embedding out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.corpora.audio import Samples, Source, named
from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.runtime.audio import STRICT, AudioOptions, as_samples, check_audible, read_audio, to_rate
from imlkd.runtime.thresholds import Thresholds
from imlkd.scoring.calibration import Calibration


@dataclass(frozen=True)
class ModelCard:
    """What a model says of itself.

    :param name: of the model; ``sha256``: of its file, or of the files of its folder.
    :param sample_rate: Hz; ``embedding_dim``: D; ``min_samples``: fewest that it can read.
    :param thresholds: from a trial list of the recipe; may be empty.
    :param calibration: from scores to log-likelihood ratios; None without.
    :param facts: whatever else stands in its file, as text (front-end, training data, licence, parameters ...).
    """

    name: str
    sha256: str
    sample_rate: int
    embedding_dim: int
    min_samples: int = 1
    thresholds: Thresholds = Thresholds()
    calibration: Calibration | None = None
    facts: dict[str, str] = field(default_factory=dict)


class EmbeddingModel(ABC):
    """A finished model. Made by :func:`imlkd.load_model`.

    :param place: the file or folder it was read from, for messages.
    :param card: what it says of itself.
    """

    def __init__(self, place: Path, card: ModelCard) -> None:
        self.place, self.card = place, card

    @property
    def sample_rate(self) -> int:
        """Samples a second that it expects."""
        return self.card.sample_rate

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.card.embedding_dim

    @property
    def thresholds(self) -> Thresholds:
        """Scores from which on two recordings count as one speaker."""
        return self.card.thresholds

    @property
    def calibration(self) -> Calibration | None:
        """From scores to log-likelihood ratios."""
        return self.card.calibration

    @abstractmethod
    def _run(self, samples: Samples) -> FloatArray:
        """Checked samples -> (D,), of any length."""

    def embed(self, waveform: npt.ArrayLike, sample_rate: int, resample: bool = False) -> FloatArray:
        """Embedding (D,) of length 1 of one recording.

        :param waveform: (samples,), float in [-1, 1) or int16.
        :param sample_rate: its samples a second; another one than the model's needs ``resample``.
        :raises imlkd.errors.UserError: for silence, NaN, too few samples, more than one channel, or another rate.

        >>> model = load_model("student.onnx")
        >>> time = np.arange(2 * model.sample_rate) / model.sample_rate
        >>> embedding = model.embed(0.1 * np.sin(2 * np.pi * 220.0 * time), model.sample_rate)
        >>> embedding.shape == (model.embedding_dim,), round(float(np.linalg.norm(embedding)), 4)
        (True, 1.0)
        """
        samples = as_samples(waveform, "the waveform")
        return self._embed(to_rate(samples, sample_rate, self.sample_rate, resample, "the waveform"), "the waveform")

    def embed_source(
        self, source: Source, options: AudioOptions = STRICT, content: bytes | None = None
    ) -> tuple[FloatArray, float]:
        """Embedding (D,) of an audio file, and its seconds; ``content`` as for ``read_audio``.

        :raises imlkd.errors.UserError: naming the file.
        """
        samples = read_audio(source, self.sample_rate, options, content)
        return self.embed_samples(samples, named(source)), len(samples) / self.sample_rate

    def embed_files(self, paths: Iterable[Path | str], options: AudioOptions = STRICT) -> FloatArray:
        """Embeddings (N, D) of audio files, in their order.

        :raises imlkd.errors.UserError: naming the first file that cannot be used.

        >>> model = load_model("student.onnx")
        >>> alice, again, bob = model.embed_files(["alice-1.wav", "alice-2.wav", "bob-1.wav"])
        >>> bool(alice @ again > alice @ bob)
        True
        """
        rows = [self.embed_source(Source(str(path), str(path), False, ""), options)[0] for path in paths]
        return np.stack(rows) if rows else np.zeros((0, self.embedding_dim), np.float32)

    def embed_samples(self, samples: Samples, place: str) -> FloatArray:
        """``embed`` of samples that are float32 at the model's rate already; ``place`` names them in messages."""
        return self._embed(as_samples(samples, place), place)

    def _embed(self, samples: Samples, place: str) -> FloatArray:
        check_audible(samples, self.sample_rate, self.card.min_samples, place)
        vector = np.asarray(self._run(samples), dtype=np.float32)
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if vector.shape != (self.embedding_dim,) or not np.isfinite(length) or length <= 0.0:
            raise UserError(f"{place}: {self.place} gives no usable embedding of it: is the model damaged?")
        return (vector / np.float32(length)).astype(np.float32)
