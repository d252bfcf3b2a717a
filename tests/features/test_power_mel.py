"""The front-end against librosa's numbers in tests/fixtures/resemblyzer.npz (tests/models/resemblyzer_oracle.py)."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features.power_mel import FLOOR, PowerMel, log_power, mel_power, padded_samples, raise_level, window_count

TESTS = Path(__file__).parents[1]
WAVES = runpy.run_path(str(TESTS / "models/resemblyzer_oracle.py"))["synthetic_waves"]()


@pytest.fixture(scope="module")
def reference():
    with np.load(TESTS / "fixtures/resemblyzer.npz") as content:
        return dict(content)


def level(waveform):
    return 10 * np.log10(np.mean(np.asarray(waveform, dtype=np.float64) ** 2))


@pytest.mark.parametrize("name", ["short", "window", "uneven"])
def test_mel_equals_librosa(reference, name):
    found = PowerMel().mel(torch.from_numpy(WAVES[name])).numpy()
    expected = reference[f"{name}.mel"]
    assert found.shape == expected.shape
    assert expected.max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * expected.max())


def test_window_rule_equals_the_package(reference):
    for samples, windows, padded in reference["windows"].tolist():
        assert (window_count(samples // 160 + 1), padded_samples(samples)) == (windows, padded), samples


@given(st.integers(1, 2_000_000))
def test_padding_adds_no_window(samples):
    padded = padded_samples(samples)
    frames = padded // 160 + 1
    windows = window_count(frames)
    assert windows == window_count(samples // 160 + 1)
    assert samples <= padded <= samples + 25600
    assert (windows - 1) * 77 + 160 <= frames - 1


@pytest.mark.parametrize("name", list(WAVES))
def test_features_are_the_logarithm_of_the_raised_and_padded_waveform(name):
    wave = torch.from_numpy(WAVES[name])
    frontend = PowerMel()
    features = frontend(wave)
    padded = torch.zeros(padded_samples(len(wave)))
    padded[: len(wave)] = raise_level(wave)
    assert features.shape == (len(padded) // 160 + 1, frontend.dim)
    assert features.dtype == torch.float32
    assert torch.equal(features, log_power(frontend.mel(padded)))


@given(st.lists(st.floats(0, 1e4, width=32), min_size=1, max_size=50))
def test_mel_power_inverts_log_power(values):
    mel = torch.tensor(values, dtype=torch.float32)
    np.testing.assert_allclose(mel_power(log_power(mel)), mel, rtol=5e-6, atol=1e-11)


def test_silence_stays_silent_and_finite():
    features = PowerMel()(torch.zeros(16000))
    assert torch.allclose(features, torch.full((161, 40), float(np.log(FLOOR))))


@given(st.floats(1e-4, 0.9), st.integers(0, 9))
def test_level_is_raised_never_lowered(amplitude, seed):
    wave = torch.from_numpy(np.random.RandomState(seed).uniform(-amplitude, amplitude, 4000).astype(np.float32))
    raised = raise_level(wave)
    assert raised.dtype == torch.float32
    if level(wave) < -30:
        assert level(raised) == pytest.approx(-30, abs=1e-4)
    else:
        assert torch.equal(raised, wave)


@pytest.mark.parametrize("shape", [(0,), (2, 16000), ()])
def test_what_is_not_one_channel_is_refused(shape):
    with pytest.raises(UserError, match="expected one channel of at least one sample"):
        PowerMel()(torch.zeros(shape))
