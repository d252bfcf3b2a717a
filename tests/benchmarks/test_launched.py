"""What a command takes is its own, whatever the process that asks for it has taken."""

import sys

import numpy as np
import pytest

from benchmarks.launched import measured


def test_peak_of_a_command_is_not_that_of_who_waits_for_it() -> None:
    large = np.ones(40_000_000)  # 320 MB
    small = measured([sys.executable, "-c", "pass"])
    assert 1 < small["mb"] < 100 < large.nbytes / 2**20
    larger = measured([sys.executable, "-c", "b'x' * 200_000_000"])
    assert 180 < larger["mb"] - small["mb"] < 220


def test_a_command_that_fails_has_the_last_word() -> None:
    with pytest.raises(SystemExit, match="ended with 3: last words"):
        measured([sys.executable, "-c", "import sys; print('last words', file=sys.stderr); sys.exit(3)"])
