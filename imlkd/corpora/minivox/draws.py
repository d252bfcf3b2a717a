"""Random draws that stay the same: one named stream for each thing that is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
IntArray = npt.NDArray[np.int32]


class Draws:
    """A stream of whole numbers, named by its key: ``Draws(seed, "mv001", "r2", "room")``.

    Only the raw words of PCG64 are used: numpy promises that they never change, while it may change how it makes
    bounded or normal numbers of them.
    """

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest, "little"))

    def integer(self, low: int, high: int) -> int:
        """One whole number, ``low <= n <= high``, all equally likely (to 2**-40)."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def around(self, centre: int, spread: int) -> int:
        """One whole number within ``centre +- spread``, likelier near the centre (mean of two draws)."""
        return centre + (self.integer(-spread, spread) + self.integer(-spread, spread)) // 2

    def pick(self, choices: Sequence[T]) -> T:
        """One of ``choices``."""
        return choices[self.integer(0, len(choices) - 1)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """``items`` in random order (Fisher and Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.integer(0, last)
            order[last], order[other] = order[other], order[last]
        return order

    def noise(self, samples: int) -> IntArray:
        """White noise (samples,) of zero mean and standard deviation 6689: the sum of two even 14-bit draws."""
        words = np.asarray(self._bits.random_raw((samples + 1) // 2), dtype="<u8").view("<i2").astype(np.int32)
        return ((words[0::2] >> 2) + (words[1::2] >> 2))[:samples]
