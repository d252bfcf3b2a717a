"""Front-ends of published teachers: Kaldi's snipped edges against kaldi-native-fbank (SpeechBrain's: tests/models)."""

import kaldi_native_fbank
import numpy as np
import pytest
import torch

from imlkd.errors import UserError
from imlkd.features.fbank import num_frames
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SnippedLogMel


def kaldi_frames(waveform: torch.Tensor, config: SnippedFbankConfig) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = config.sample_rate
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.frame_opts.window_type = config.window
    options.mel_opts.num_bins = config.num_mel_bins
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = 0.0
    options.energy_floor = 0.0
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(config.sample_rate, (waveform * config.scale).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("samples", [400, 3999, 16000])
@pytest.mark.parametrize(
    "config",
    [SnippedFbankConfig(), SnippedFbankConfig(window="povey", scale=1.0), SnippedFbankConfig(8000, 23)],
    ids=["wespeaker", "3dspeaker", "8kHz"],
)
def test_kaldis_frames_with_the_first_and_last_there_twice(config: SnippedFbankConfig, samples: int) -> None:
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    expected = kaldi_frames(waveform, config)
    found = SnippedLogMel(config)(waveform).numpy()
    assert len(found) == num_frames(samples, config.sample_rate) == len(expected) + 2
    np.testing.assert_allclose(found[1:-1], expected, rtol=1e-3, atol=2e-3)
    np.testing.assert_array_equal(found[[0, -1]], found[[1, -2]])


def test_too_short_audio() -> None:
    with pytest.raises(UserError, match="audio of 399 samples: the front-end of this model needs 400 or more"):
        SnippedLogMel(SnippedFbankConfig())(torch.zeros(399))
