"""The residual TDNN: no leak of padding, determinism, normalisation and pooling by hand numbers."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.features.fbank import FbankConfig
from imlkd.models.layers import Normalization, pooled_statistics
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig

FBANK = FbankConfig(num_mel_bins=10)


def trained_like(normalize: str = "level", blocks: int = 2) -> Tdnn:
    """A network in evaluation mode whose batch statistics, biases and bin means are not the initial ones."""
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=blocks, embedding_dim=7, normalize=normalize), FBANK)
    model.head = CosineHead(7, ["a", "b", "c"])
    model.normalization.bin_mean.copy_(torch.linspace(-2, 5, 10))
    model.train()
    for _ in range(3):
        model(5 + 3 * torch.randn(8, 40, 10), torch.full((8,), 40))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


shared = functools.cache(trained_like)


@pytest.mark.parametrize("normalize", ["level", "mean", "none"])
@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4), more=st.integers(0, 9), seed=st.integers(0, 99))
def test_padding_does_not_leak(normalize: str, lengths: list[int], more: int, seed: int) -> None:
    """Each row of a batch equals the row alone, whatever stands behind its end."""
    model = shared(normalize)
    generator = torch.Generator().manual_seed(seed)
    batch = 100 * torch.randn(len(lengths), max(lengths) + more, 10, generator=generator)  # loud padding
    together = model(batch, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = model(batch[row : row + 1, :length], torch.tensor([length]))
        for name in ("pooled", "embedding", "cosines"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0], rtol=1e-3, atol=1e-3)
        for mine, theirs in zip(together.stages, alone.stages, strict=True):
            frames = theirs.shape[2]
            torch.testing.assert_close(mine[row, :, :frames], theirs[0], rtol=1e-3, atol=1e-3)
            assert not mine[row, :, frames:].any()


def test_shapes() -> None:
    model = trained_like(blocks=3)
    output = model(torch.randn(2, 33, 10), torch.tensor([33, 20]))
    assert [tuple(stage.shape) for stage in output.stages] == [(2, 6, 17)] * 4  # 20 ms a frame
    assert output.pooled.shape == (2, 24) and output.embedding.shape == (2, 7) and output.cosines.shape == (2, 3)


def test_evaluation_is_deterministic_and_training_is_not_evaluation() -> None:
    model = trained_like()
    batch, lengths = torch.randn(4, 50, 10), torch.full((4,), 50)
    first, second = model(batch, lengths).embedding, model(batch, lengths).embedding
    assert torch.equal(first, second)
    assert not torch.allclose(model.train()(batch, lengths).embedding, first)


def test_the_embedding_depends_on_the_order_of_frames_and_on_each_of_them() -> None:
    model = trained_like()
    frames = torch.randn(1, 50, 10).requires_grad_()
    output = model(frames, torch.tensor([50]))
    gradient = torch.autograd.grad(output.embedding.square().sum(), frames)[0]
    assert (gradient.abs().sum((0, 2)) > 0).all()
    assert not torch.allclose(model(frames.flip(1), torch.tensor([50])).embedding, output.embedding, atol=1e-3)


def test_normalisation_by_hand() -> None:
    """Two valid frames (1, 3) and (3, 5), the third one padding; training means (10, 14)."""
    features = torch.tensor([[[1.0, 3.0], [3.0, 5.0], [99.0, 99.0]]])
    mask = torch.tensor([[[1.0], [1.0], [0.0]]])
    expected = {
        "none": [[1.0, 3.0], [3.0, 5.0]],
        "mean": [[-1.0, -1.0], [1.0, 1.0]],  # less the mean frame (2, 4)
        "level": [[0.0, -2.0], [2.0, 0.0]],  # less the level 3, less (10, 14) - 12
    }
    for kind, rows in expected.items():
        module = Normalization(kind, 2)
        module.bin_mean.copy_(torch.tensor([10.0, 14.0]))
        torch.testing.assert_close(module(features, mask)[0, :2], torch.tensor(rows))


@pytest.mark.parametrize("normalize", ["level", "mean"])
def test_a_gain_of_the_recording_changes_nothing(normalize: str) -> None:
    model = trained_like(normalize)
    frames, lengths = torch.randn(1, 50, 10), torch.tensor([50])
    louder = model(frames + 3.0, lengths).embedding
    torch.testing.assert_close(louder, model(frames, lengths).embedding, rtol=1e-3, atol=1e-4)
    coloured = model(frames + torch.linspace(0, 3, 10), lengths).embedding
    assert torch.allclose(coloured, louder, atol=1e-3) is (normalize == "mean")


def test_pooling_is_numpys_mean_and_deviation() -> None:
    frames = torch.randn(3, 4, 9)
    lengths = [9, 5, 1]
    mask = torch.tensor([[[float(t < n) for t in range(9)]] for n in lengths])
    pooled = pooled_statistics(frames, mask).numpy()
    for row, n in enumerate(lengths):
        valid = frames[row, :, :n].numpy()
        expected = np.concatenate([valid.mean(1), np.sqrt(valid.var(1) + 1e-5)])
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)


def test_bin_means_are_saved_with_the_weights() -> None:
    assert "normalization.bin_mean" in trained_like().state_dict()
