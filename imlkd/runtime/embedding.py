"""Many recordings, one after the other or side by side, with a bound on how many may be unusable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.runtime.audio import STRICT, AudioOptions
from imlkd.runtime.inputs import Recording
from imlkd.runtime.model import EmbeddingModel

AHEAD = 4  # recordings a worker that are begun before the oldest is handed out: bounds the memory


@dataclass(frozen=True)
class Embedded:
    """One recording's outcome.

    :param embedding: (D,), of length 1; None when it could not be used, and then ``problem`` says why, in one line.
    :param seconds: how long it is; 0 when unusable.
    """

    id: str
    embedding: FloatArray | None
    seconds: float = 0.0
    problem: str = ""


def embed_one(model: EmbeddingModel, recording: Recording, options: AudioOptions = STRICT) -> Embedded:
    """Embed one recording; what is wrong with its audio is part of the outcome."""
    try:
        samples = recording.read(model.sample_rate, options)
        vector = model.embed_samples(samples, recording.place)
    except UserError as error:
        return Embedded(recording.id, None, problem=" ".join(str(error).split()))
    return Embedded(recording.id, vector, len(samples) / model.sample_rate)


def embed_all(
    model: EmbeddingModel, chosen: Iterable[Recording], options: AudioOptions = STRICT, workers: int = 1
) -> Iterator[Embedded]:
    """``embed_one`` of each, in their order, ``workers`` at a time."""
    if workers == 1:
        yield from (embed_one(model, recording, options) for recording in chosen)
        return
    waiting: deque[Future[Embedded]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for recording in chosen:
                waiting.append(pool.submit(embed_one, model, recording, options))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class BadFiles:
    """Counts recordings that could not be used, and ends the work when they are more than ``allowed``."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.problems: list[str] = []

    def add(self, problem: str) -> None:
        """UserError for the one that is too much."""
        self.problems.append(problem)
        if len(self.problems) > self.allowed:
            allowed = f"more than {self.allowed} bad files, the last: " if self.allowed else ""
            raise UserError(f"{allowed}{problem} (--max-bad N leaves out so many)")


def mean_of(embeddings: Iterable[FloatArray]) -> FloatArray:
    """Mean of embeddings of length 1, itself of length 1: how several recordings of a speaker are compared.

    :raises UserError: when they cancel each other out.
    """
    mean = np.mean(np.stack(list(embeddings)).astype(np.float64), axis=0)
    length = float(np.linalg.norm(mean))
    if not length > 1e-6:
        raise UserError("the recordings' embeddings cancel each other out: are they of one speaker?")
    unit: FloatArray = (mean / length).astype(np.float32)
    return unit
