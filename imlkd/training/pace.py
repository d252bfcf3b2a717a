"""How fast a training goes: samples a second, the share of the time that it waits for batches, and what is left."""

from __future__ import annotations

import time

SECONDS_BETWEEN_WORDS = 30.0  # inside an epoch


class Pace:
    """Counts between the ends of two epochs; ``said`` is the last of them in words."""

    def __init__(self) -> None:
        self.said = ""
        self._since = self._spoke = time.perf_counter()
        self._steps, self._samples, self._waited, self._waited_before = 0, 0, 0.0, 0.0

    def step(self, samples: int, waited: float) -> None:
        """One step is done.

        :param samples: segments of all processes.
        :param waited: seconds in all that the loader kept the training waiting.
        """
        self._steps, self._samples, self._waited = self._steps + 1, self._samples + samples, waited

    def speaks(self) -> bool:
        """Whether it is time for a word inside an epoch, ``SECONDS_BETWEEN_WORDS`` behind the last one."""
        now = time.perf_counter()
        if now - self._spoke < SECONDS_BETWEEN_WORDS:
            return False
        self._spoke = now
        return True

    def so_far(self, rate: float, steps_left: int) -> dict[str, float]:
        """``learning_rate``, ``samples_per_second`` and ``loader_wait`` (a share) since the end of the last epoch."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        found = {
            "learning_rate": float(f"{rate:.4g}"),
            "samples_per_second": float(f"{self._samples / seconds:.4g}"),
            "loader_wait": round((self._waited - self._waited_before) / seconds, 4),
        }
        left = int(seconds / max(1, self._steps) * steps_left)
        self.said = (
            f"rate {rate:.3g}, {found['samples_per_second']:g} samples/s, loader {found['loader_wait']:.0%},"
            f" {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )
        return found

    def epoch(self, rate: float, steps_left: int) -> dict[str, float]:
        """The same at the end of an epoch, from where it counts anew."""
        found = self.so_far(rate, steps_left)
        self._since = self._spoke = time.perf_counter()
        self._steps, self._samples, self._waited_before = 0, 0, self._waited
        return found
