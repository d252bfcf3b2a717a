"""How fast a training goes: samples a second, the share of the time that it waits for batches, and what is left."""

from __future__ import annotations

import time


class Pace:
    """Counts between the ends of two epochs; ``said`` is the last of them in words."""

    def __init__(self) -> None:
        self.said = ""
        self._since = time.perf_counter()
        self._samples, self._waited, self._waited_before = 0, 0.0, 0.0

    def step(self, samples: int, waited: float) -> None:
        """One step is done.

        :param samples: segments of all processes.
        :param waited: seconds in all that the loader kept the training waiting.
        """
        self._samples, self._waited = self._samples + samples, waited

    def epoch(self, rate: float, epochs_left: int) -> dict[str, float]:
        """``learning_rate``, ``samples_per_second`` and ``loader_wait`` (a share) since the last call."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        found = {
            "learning_rate": float(f"{rate:.4g}"),
            "samples_per_second": float(f"{self._samples / seconds:.4g}"),
            "loader_wait": round((self._waited - self._waited_before) / seconds, 4),
        }
        self._since, self._samples, self._waited_before = time.perf_counter(), 0, self._waited
        left = int(seconds * epochs_left)
        self.said = (
            f"rate {rate:.3g}, {found['samples_per_second']:g} samples/s, loader {found['loader_wait']:.0%},"
            f" {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )
        return found
