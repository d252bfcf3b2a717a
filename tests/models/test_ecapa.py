"""ECAPA-TDNN: what `test_imports.py`, which compares it with SpeechBrain's and wespeaker's, does not see."""

import torch

from imlkd.features.fbank import FbankConfig
from imlkd.models.ecapa import Ecapa, EcapaConfig
from imlkd.models.layers import reflected


def test_default_width_is_three_times_the_channels_after_aggregation() -> None:
    model = Ecapa(EcapaConfig(channels=16), FbankConfig(num_mel_bins=8))
    assert model.aggregation.convolution.weight.shape == (48, 48, 1)
    assert Ecapa(EcapaConfig(channels=16, aggregated=10), FbankConfig()).aggregation.convolution.out_channels == 10


def test_mirrored_frames_by_hand() -> None:
    """Rows 1 2 3 4 and 5 6 (two frames of padding), two frames on either side."""
    frames = torch.tensor([[[1.0, 2, 3, 4]], [[5, 6, 99, 99]]])
    found = reflected(frames, torch.tensor([4, 2]), 2)
    assert found[0, 0].tolist() == [3, 2, 1, 2, 3, 4, 3, 2]
    assert found[1, 0, :6].tolist() == [5, 6, 5, 6, 5, 6]
    assert reflected(frames[:, :, :1], torch.tensor([1, 1]), 2)[0, 0].tolist() == [1] * 5
