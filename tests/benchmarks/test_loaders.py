"""benchmarks/loaders.py: what is compared does the same work."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import loaders
from imlkd.features.fbank import FbankConfig, LogMel

SVMINI = os.environ.get("SVMINI", "")


def test_the_filterbanks_are_one() -> None:
    import torch

    crop = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    ours = LogMel(FbankConfig())(torch.from_numpy(crop))
    torch.testing.assert_close(loaders._fbank(crop), ours, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(not SVMINI, reason="needs SVMINI")
def test_every_loader_gives_batches() -> None:
    found = loaders.loaders(Path(SVMINI), 0.0)
    assert found["loaders_largest_difference"] < 1e-2
    assert {key.removeprefix("samples_per_second_") for key in found} >= {"audio", "ark", "wespeaker_style", "lhotse"}
