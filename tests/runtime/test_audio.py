"""Resampling, against SciPy's and against the same voice at the other rate."""

import sys

import numpy as np
import pytest
from scipy import signal

from imlkd.errors import UserError
from imlkd.runtime.audio import to_rate
from tests.conftest import toy_voice


def band_limited(rate: int) -> np.ndarray:
    """Two seconds of tones below 3 kHz, exactly the same sound at every rate."""
    time = np.arange(2 * rate) / rate
    return sum(0.1 * np.sin(2 * np.pi * f * time + f) for f in (120.0, 730.0, 1500.5, 2900.0)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_band_limited_sound_comes_out_as_itself(rate: int) -> None:
    found = to_rate(band_limited(rate), rate, 16000, True, "here")
    assert found.dtype == np.float32 and abs(len(found) - 32000) <= 1
    middle = slice(1000, 31000)
    np.testing.assert_allclose(found[middle], band_limited(16000)[middle], atol=2e-3)


def test_no_aliasing() -> None:
    """12 kHz is above what 16 kHz can carry; scipy's filter leaves as little of it."""
    tone = np.sin(2 * np.pi * 12000.0 * np.arange(96000) / 48000.0).astype(np.float32)
    found = to_rate(tone, 48000, 16000, True, "here")[500:-500]
    oracle = signal.resample_poly(tone, 1, 3)[500:-500]
    assert np.abs(found).max() < 1e-3 and np.abs(oracle).max() < 1e-2


def test_the_models_own_rate_is_left_alone() -> None:
    voice = toy_voice(0, 0.5, 0)
    assert to_rate(voice, 16000, 16000, True, "here") is voice


@pytest.mark.parametrize("rate", [0, 100, 10**7])
def test_rates_that_are_none(rate: int) -> None:
    with pytest.raises(UserError, match="here: sampled at .* no rate of speech"):
        to_rate(toy_voice(0, 0.5, 0), rate, 16000, True, "here")


def test_without_soxr_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(UserError, match="--resample needs the package soxr"):
        to_rate(toy_voice(0, 0.5, 0), 8000, 16000, True, "here")
