"""The signal path against plain Python whole numbers, analytic sinusoids and measured levels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.corpora.minivox import audio as audio
from imlkd.corpora.minivox.draws import Draws

samples = st.lists(st.integers(-32768, 32767), min_size=1, max_size=60)


def as_signal(values: list[int]) -> audio.IntArray:
    return np.array(values, dtype=np.int32)


@given(samples, st.dictionaries(st.integers(0, 80), st.integers(-8000, 8000), min_size=1, max_size=8))
def test_sparse_fir_is_the_exact_sum(values: list[int], taps: dict[int, int]) -> None:
    expected = []
    for t in range(len(values)):
        total = sum(gain * values[t - delay] for delay, gain in taps.items() if t >= delay) >> 13
        expected.append(min(max(total, -32768), 32767))
    assert audio.sparse_fir(as_signal(values), taps, 13).tolist() == expected


def test_sparse_fir_refuses_taps_that_could_overflow() -> None:
    loudest = as_signal([-32768] * 4)
    assert audio.sparse_fir(loudest, {0: 32767, 1: 32768}, 13).tolist()[1:] == [-32768] * 3
    with pytest.raises(ValueError, match="too large"):
        audio.sparse_fir(loudest, {0: 32768, 1: 32768}, 13)


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=60), st.integers(1, 70))
def test_moving_mean_is_the_floored_mean(values: list[int], width: int) -> None:
    expected = [sum(values[max(0, t - width + 1) : t + 1]) // width for t in range(len(values))]
    assert audio.moving_mean(as_signal(values), width).tolist() == expected


@settings(max_examples=40)
@given(st.integers(20000, 25500), st.integers(100, 4000))
def test_resample_keeps_a_sinusoid(rate: int, hertz: int) -> None:
    time_in = np.arange(rate // 5) / rate
    resampled = audio.resample(np.rint(20000 * np.sin(2 * np.pi * hertz * time_in)).astype(np.int32), rate)
    time_out = np.arange(len(resampled)) / audio.SAMPLE_RATE
    expected = 20000 * np.sin(2 * np.pi * hertz * time_out)
    inner = slice(20, -20)
    error = np.sqrt(np.mean((resampled[inner] - expected[inner]) ** 2)) / 20000
    assert error < 0.02
    assert abs(len(resampled) - len(time_in) * audio.SAMPLE_RATE / rate) < 1


def test_resample_holds_back_what_would_alias() -> None:
    time_in = np.arange(22050) / 22050
    aliased = audio.resample(np.rint(20000 * np.sin(2 * np.pi * 10500 * time_in)).astype(np.int32), 22050)
    assert np.abs(aliased[20:-20]).max() < 20000 * 0.02


def test_resample_cannot_overflow() -> None:
    largest = np.abs(audio.interpolation_table()).sum(axis=1).max()
    assert int(largest) * 32768 < 2**31


def test_tables_are_rounded_far_from_a_tie() -> None:
    """A C library that is off by far more than its last bit still gives the same tables."""
    exact = [
        8192 * audio._windowed_sinc(k - (audio.TAPS // 2 - 1) - phase / audio.PHASES)
        for phase in range(audio.PHASES)
        for k in range(audio.TAPS)
    ] + [1000 * 10 ** (decibel / 10) for decibel in range(41)]
    margins = [abs(value - math.floor(value) - 0.5) for value in exact]
    assert min(margins) > 1e-6
    assert audio.interpolation_table().reshape(-1).tolist() == [round(value) for value in exact[:-41]]


@given(st.integers(0, 40), st.sampled_from(audio.NOISES), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_noise_is_as_far_below_the_speech_as_asked(snr_db: int, kind: str, seed: int) -> None:
    speech = np.rint(6000 * np.sin(np.arange(32000) / 9)).astype(np.int32)
    noise = audio.noise_like(kind, len(speech), Draws(seed, "noise"), Draws(seed, "colour"))
    gain = audio.noise_gain(speech, noise, snr_db) / 65536
    measured = 10 * math.log10(np.mean(speech.astype(float) ** 2) / np.mean((noise * gain) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("kind", audio.NOISES)
def test_noises_are_lively_and_of_their_length(kind: str) -> None:
    noise = audio.noise_like(kind, 16001, Draws(1, "noise"), Draws(1, "colour"))
    assert noise.shape == (16001,) and noise.dtype == np.int32
    assert len(np.unique(noise)) > 1000
    assert abs(noise.mean()) < 0.3 * noise.std()
    again = audio.noise_like(kind, 16001, Draws(2, "noise"), Draws(1, "colour"))
    assert not np.array_equal(noise, again)


def test_unknown_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="rain"):
        audio.noise_like("rain", 100, Draws(1), Draws(1))


@given(st.lists(st.integers(-(2**22), 2**22), min_size=1, max_size=200), st.integers(1000, 4000))
def test_level_is_met_unless_a_peak_forbids_it(values: list[int], rms: int) -> None:
    levelled = audio.to_level(as_signal(values), rms).astype(float)
    assert np.abs(levelled).max() <= 32000
    measured = math.sqrt(np.mean(levelled**2))
    assert measured <= 1.3 * rms + 1  # the isqrt and the gain are floored to whole numbers
    loud = max(map(abs, values))
    if loud > 4096 and np.abs(levelled).max() < 0.9 * 32000:
        assert measured > 0.7 * rms


def test_breath_follows_the_voice() -> None:
    voice = np.concatenate([np.zeros(8000), 8000 * np.sin(np.arange(8000) / 20)]).astype(np.int32)
    breath = audio.add_breath(voice, 10, Draws(3, "breath")) - voice
    assert np.abs(breath[:8000]).max() <= 1
    assert 100 < breath[8200:].std() < 2000
    assert audio.add_breath(voice, 0, Draws(3, "breath")) is voice


@pytest.mark.parametrize("decay_ms", [10, 60, 400])
def test_rooms_fade_in_the_time_given(decay_ms: int) -> None:
    taps = audio.room(Draws(decay_ms, "room"), decay_ms)
    assert taps[0] == 4096 and len(taps) == 33
    gains = np.abs([taps[delay] for delay in sorted(taps)[1:]])
    assert gains[-8:].mean() < 0.35 * gains[:8].mean()
    assert max(taps) <= 24 + 16 * max(decay_ms * 16 // 24, 8)
    assert sum(map(abs, taps.values())) <= 0xFFFF


def test_channels_colour_mildly() -> None:
    for seed in range(50):
        taps = audio.channel(Draws(seed, "channel"), 60)
        response = np.abs(np.fft.rfft([taps[delay] / 4096 for delay in range(8)], 64))
        assert taps[0] == 4096 and response.max() < 6
    assert set(audio.channel(Draws(1, "channel"), 0).values()) == {4096, 0}
