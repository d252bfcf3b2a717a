"""What the progress line says, by a clock of the test's own."""

from __future__ import annotations

import pytest

from imlkd.training import pace
from imlkd.training.pace import SECONDS_BETWEEN_WORDS, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_rates_inside_an_epoch_and_behind_it(clock: Clock) -> None:
    counted = Pace()
    for _ in range(10):
        clock.now += 2.0
        counted.step(64, 0.25 * (clock.now - 100))
    assert counted.so_far(0.5, 1800) == {"learning_rate": 0.5, "samples_per_second": 32.0, "loader_wait": 0.25}
    assert counted.said == "rate 0.5, 32 samples/s, loader 25%, 1:00:00 left"
    assert counted.epoch(0.5, 1800)["samples_per_second"] == 32.0
    clock.now += 1.0
    counted.step(10, 5.0)  # nothing waited since
    assert counted.epoch(0.1, 90) == {"learning_rate": 0.1, "samples_per_second": 10.0, "loader_wait": 0.0}
    assert counted.said.endswith("0:01:30 left")


def test_a_word_now_and_then(clock: Clock) -> None:
    counted = Pace()
    spoken = 0
    for _ in range(100):
        clock.now += SECONDS_BETWEEN_WORDS / 10
        spoken += counted.speaks()
    assert spoken == 10
    clock.now += 2 * SECONDS_BETWEEN_WORDS
    counted.epoch(0.1, 1)
    assert not counted.speaks()
