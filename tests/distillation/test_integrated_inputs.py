"""The gate and the interpolation."""

import numpy as np
import torch

from imlkd.attribution.integrated_gradients import mean_frame_baseline
from imlkd.distillation.integrated_inputs import gated, mean_frame, soft_gate


def test_by_hand() -> None:
    """Frames (0, 4) and (2, 0), mean (1, 2); gate 1 and 0.5."""
    features = torch.tensor([[[0.0, 4.0], [2.0, 0.0]]])
    assert mean_frame(features).tolist() == [[[1.0, 2.0]]]
    gate = soft_gate(torch.tensor([[1.0, 0.0]]), 0.5)
    assert gate.tolist() == [[1.0, 0.5]]
    assert gated(features, gate).tolist() == [[[0.0, 4.0], [1.5, 1.0]]]


def test_ends_of_the_gate() -> None:
    features, relevance = torch.randn(3, 7, 4), torch.rand(3, 7)
    assert torch.equal(gated(features, soft_gate(relevance, 1.0)), features)  # rho = 1: the identity
    torch.testing.assert_close(gated(features, torch.zeros(3, 7)), mean_frame(features).expand(3, 7, 4))
    gate = soft_gate(relevance, 0.25)
    assert (gate >= 0.25).all() and (gate <= 1).all()
    torch.testing.assert_close(soft_gate(relevance, 0.0), relevance)


def test_against_numpy() -> None:
    features, gate = torch.randn(2, 9, 3), torch.rand(2, 9)
    x, g = features.numpy(), gate.numpy()[:, :, None]
    mean = x.mean(1, keepdims=True)
    np.testing.assert_allclose(gated(features, gate).numpy(), mean + g * (x - mean), atol=1e-6)


def test_the_baseline_is_the_one_that_relevance_was_taken_from() -> None:
    features = torch.randn(2, 9, 3)
    torch.testing.assert_close(mean_frame(features).expand(2, 9, 3), mean_frame_baseline(features, 9))
