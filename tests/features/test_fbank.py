"""The log-mel front-end, against kaldi-native-fbank as an independent implementation of Kaldi's."""

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.fbank import INT16_SCALE, FbankConfig, LogMel, num_frames


def kaldi_frames(waveform: np.ndarray, config: FbankConfig) -> np.ndarray:
    """(T, 1 + bins): energy and bins as compute-fbank-feats gives them."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = config.sample_rate
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = config.num_mel_bins
    options.mel_opts.low_freq = config.low_freq
    options.mel_opts.high_freq = config.high_freq
    options.use_energy = True
    options.energy_floor = 1.0
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(config.sample_rate, (waveform * INT16_SCALE).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def wave(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Noise with a tone and a constant offset."""
    generator = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * 440 * np.arange(samples) / 16000)
    return (level * (generator.normal(size=samples) * 0.3 + tone) + 0.01).clip(-1, 1).astype(np.float32)


CONFIGS = [
    FbankConfig(),
    FbankConfig(num_mel_bins=40, low_freq=0.0, high_freq=8000.0),
    FbankConfig(sample_rate=8000, num_mel_bins=30, low_freq=100.0, high_freq=3800.0),
    FbankConfig(sample_rate=22050, num_mel_bins=64, high_freq=11025.0),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("samples", [600, 1600, 16000, 16079, 16080, 16081, 35321])
def test_frames_are_kaldis(config: FbankConfig, samples: int) -> None:
    waveform = wave(samples, samples)
    expected = kaldi_frames(waveform, config)
    frontend = LogMel(config)
    found = frontend.with_energy(torch.from_numpy(waveform)).numpy()
    assert found.shape == expected.shape == (num_frames(samples, config.sample_rate), 1 + config.num_mel_bins)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_array_equal(frontend(torch.from_numpy(waveform)).numpy(), found[:, 1:])
    assert found.dtype == np.float32 and frontend.dim == config.num_mel_bins


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_several_at_once_are_kaldis_of_each(config: FbankConfig) -> None:
    waves = [wave(samples, samples) for samples in (600, 16000, 16079, 16080, 35321, 700)]
    found = LogMel(config).of_several([torch.from_numpy(one) for one in waves])
    for one, features in zip(waves, found, strict=True):
        np.testing.assert_allclose(features, kaldi_frames(one, config)[:, 1:], atol=2e-3)
        torch.testing.assert_close(features, LogMel(config)(torch.from_numpy(one)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", [1e-4, 0.01, 1.0])
def test_levels_shift_the_log(level: float) -> None:
    """Against the offset of 327 units the faintest level is near float32's noise."""
    waveform = wave(16000, level=level)
    np.testing.assert_allclose(
        LogMel(FbankConfig()).with_energy(torch.from_numpy(waveform)).numpy(),
        kaldi_frames(waveform, FbankConfig()),
        atol=2e-2 if level < 1e-3 else 2e-3,
    )


def test_silence_is_finite() -> None:
    frames = LogMel(FbankConfig()).with_energy(torch.zeros(4000))
    assert torch.isfinite(frames).all() and frames[:, 0].eq(0.0).all()  # the energy's floor, log 1


@settings(deadline=None, max_examples=60)
@given(samples=st.integers(400, 6000), rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]))
def test_the_number_of_frames(samples: int, rate: int) -> None:
    if samples < 0.025 * rate:  # less than a window: stage 0 refuses it
        samples += round(0.025 * rate)
    config = FbankConfig(sample_rate=rate, high_freq=4000.0, num_mel_bins=10)
    frames = num_frames(samples, rate)
    assert frames == len(LogMel(config)(torch.zeros(samples))) == len(kaldi_frames(np.zeros(samples), config))
    hop = rate // 100
    assert abs(samples - frames * hop) <= hop / 2


def test_frame_t_lies_around_sample_160_t() -> None:
    waveform = torch.zeros(16000)
    waveform[8000] = 1.0
    energy = LogMel(FbankConfig()).with_energy(waveform)[:, 0]
    loud = torch.nonzero(energy > 1.0)[:, 0]
    assert loud.min() == 49 and loud.max() == 50  # windows of 400 around 160 t + 80


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample_rate": 8000}, "fbank.high_freq: 7600 Hz is above half of sample_rate, 8000 Hz: lower it"),
        ({"low_freq": 7600.0}, "fbank.low_freq: 7600 Hz is not below high_freq, 7600 Hz"),
    ],
)
def test_edges_that_do_not_go_together(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        LogMel(load_config(FbankConfig, None, [f"{key}={value}" for key, value in values.items()]))
