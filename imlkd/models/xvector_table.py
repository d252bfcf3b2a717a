"""Embeddings that another system has extracted, as a teacher: a vector an utterance, and no network.

A Kaldi ``scp`` of x-vectors, i-vectors or whatever else compares by its angle. Every segment of an utterance has the
utterance's embedding. There is nothing to differentiate, so there is no relevance, and nothing to run beside a student.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.speech import SpeechReader
from imlkd.files import sha256_file
from imlkd.kaldi_io import ArkWriter, FloatArray, read_array, read_table
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

ARK, SCP = "embeddings.ark", "embeddings.scp"


class NoFrontEnd:
    """Hears nothing; there so that a table is a model like any other."""

    sample_rate, dim = 16000, 0

    def __call__(self, waveform: Tensor) -> Tensor:
        raise UserError("this teacher is a table of embeddings: it hears no audio")


class XvectorTable(SpeakerModel):
    """Embeddings by utterance.

    :param places: utterance -> where its vector lies, as ``path:offset``.
    :param digest: SHA-256 of the ark, once it lies in a model folder.
    """

    architecture = "xvectors"
    is_opaque = True
    has_stages = False

    def __init__(self, places: Mapping[str, str], embedding_dim: int, digest: str = "") -> None:
        super().__init__(NoFrontEnd(), embedding_dim)
        self.places, self.digest = places, digest

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """:raises UserError: always: a table has no network."""
        raise UserError("this teacher is a table of embeddings: it has no network to run")

    def lacks(self, utterances: Iterable[str]) -> list[str]:
        """Those that have no embedding, in the order given."""
        return [name for name in utterances if name not in self.places]

    def vector(self, utterance: str) -> FloatArray:
        """(D,) of any length.

        :raises UserError: when it is not there, not a vector of D values, zero, or not finite.
        """
        if utterance not in self.places:
            raise UserError(f"{utterance}: has no embedding in the teacher's table: extract it, or leave it out")
        place = self.places[utterance]
        found = read_array(place)
        if found.shape != (self.embedding_dim,):
            expected = f"the first entry {self.embedding_dim} values"
            raise UserError(f"{place}: {utterance} has shape {found.shape}, {expected}: extract it again")
        if not np.isfinite(found).all() or not found.any():
            raise UserError(f"{place}: {utterance} is zero, or holds NaN or infinite values: extract it again")
        return found

    def vectors(self, utterances: Iterable[str]) -> Tensor:
        """(N, D) of utterances."""
        return torch.from_numpy(np.stack([self.vector(name) for name in utterances]))

    def embed_utterance(self, name: str, speech: SpeechReader) -> Tensor:
        """What the table has; ``speech`` is not heard."""
        return functional.normalize(torch.from_numpy(self.vector(name)), dim=0)

    def settings(self) -> dict[str, Any]:
        return {"embedding_dim": self.embedding_dim, "utterances": len(self.places), "sha256": self.digest}

    def keep(self, folder: Path) -> None:
        """Copy the vectors into a model folder, which needs no other file then."""
        if self.digest:
            return
        with ArkWriter(folder / ARK, folder / SCP) as writer:
            for name in self.places:
                writer.write(name, self.vector(name))
        self.digest = sha256_file(folder / ARK)


def load_table(path: Path) -> XvectorTable:
    """A ``scp`` of vectors.

    :raises UserError: when it cannot be read, or does not hold vectors.
    """
    places = read_table(path, fields=2)
    first = read_array(next(iter(places.values())))
    if first.ndim != 1 or len(first) < 2:
        raise UserError(f"{path}: its first entry has shape {first.shape}: give a scp of vectors, one an utterance")
    return XvectorTable(places, len(first))


def open_table(folder: Path, said: Mapping[str, Any]) -> XvectorTable:
    """The table in a model folder, wherever that lies now.

    :raises UserError: when the ark is not the one that was imported.
    """
    ark = folder / ARK
    if not ark.is_file() or sha256_file(ark) != said["sha256"]:
        raise UserError(f"{ark}: missing or damaged: import the teacher again (stage 2)")
    offsets = {name: place.rpartition(":")[2] for name, place in read_table(folder / SCP, fields=2).items()}
    places = {name: f"{ark}:{at}" for name, at in offsets.items()}
    return XvectorTable(places, int(said["embedding_dim"]), said["sha256"])
