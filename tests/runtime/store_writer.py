"""A process that enrols 1,000 speakers of two recordings one after the other; to be killed in the middle.

Usage: store_writer.py STORE FIRST    Says the number of each speaker once the store has it.
"""

import sys

import numpy as np

from imlkd.runtime.model import ModelCard
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore

CARD = ModelCard(name="tiny", sha256="a" * 64, sample_rate=16000, embedding_dim=24)
WRITES = 1000


def voice(number: int) -> list[Enrolment]:
    """Two recordings of a speaker who can be told by the number."""
    generator = np.random.default_rng(number)
    rows = generator.normal(size=24) + 0.1 * generator.normal(size=(2, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [Enrolment(f"{number}-{i}.wav", 1.0 + i, row.astype(np.float32)) for i, row in enumerate(rows)]


def main() -> None:
    path, first = sys.argv[1], int(sys.argv[2])
    with SpeakerStore(path, CARD, wait=60.0) as store:
        for number in range(first, first + WRITES):
            store.enroll({f"s{number}": voice(number)})
            print(number, flush=True)


if __name__ == "__main__":
    main()
