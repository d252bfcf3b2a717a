"""The interface of all networks, its head and its mask."""

import numpy as np
import pytest
import torch
from torch import Tensor

from imlkd.models.speaker_model import CosineHead, SpeakerModel, SpeakerOutput, mask_of


class MeanModel(SpeakerModel):
    """Embedding: the mean of the valid frames."""

    class FrontEnd:
        sample_rate, dim = 100, 3

        def __call__(self, waveform: Tensor) -> Tensor:
            return waveform[:, None].expand(-1, 3) * torch.tensor([1.0, 2.0, 3.0])

    def __init__(self) -> None:
        super().__init__(self.FrontEnd(), 3)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        mask = mask_of(lengths, features.shape[1])[:, :, None]
        mean = (features * mask).sum(1) / lengths[:, None]
        return SpeakerOutput([], mean, mean, None)


def test_cosines_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    embedding, weight = generator.normal(size=(5, 4)), generator.normal(size=(3, 4))
    head = CosineHead(4, ["a", "b", "c"]).double()
    head.weight.data = torch.from_numpy(weight)
    expected = (embedding @ weight.T) / np.outer(np.linalg.norm(embedding, axis=1), np.linalg.norm(weight, axis=1))
    np.testing.assert_allclose(head(torch.from_numpy(embedding)).detach().numpy(), expected, atol=1e-12)
    assert head.speakers == ["a", "b", "c"]


def test_cosines_do_not_depend_on_lengths() -> None:
    head = CosineHead(4, ["a", "b"])
    embedding = torch.randn(3, 4)
    before = head(embedding)
    head.weight.data *= 7.0
    torch.testing.assert_close(head(100 * embedding), before)
    assert (before.abs() <= 1 + 1e-6).all()


@pytest.mark.parametrize("with_head", [False, True])
def test_the_head_is_optional(with_head: bool) -> None:
    model = MeanModel()
    if with_head:
        model.head = CosineHead(3, ["a"])
    output = model(torch.ones(2, 4, 3), torch.tensor([4, 2]))
    assert (output.cosines is not None) is with_head
    torch.testing.assert_close(output.embedding, torch.ones(2, 3))


def test_embed_is_of_unit_length_and_without_gradient() -> None:
    model = MeanModel()
    embedding = model.embed(torch.tensor([1.0, 3.0]).requires_grad_())
    torch.testing.assert_close(embedding, torch.tensor([1.0, 2.0, 3.0]) / 14**0.5)
    assert not embedding.requires_grad


def test_mask() -> None:
    assert mask_of(torch.tensor([1, 3, 0]), 3).tolist() == [
        [True, False, False], [True, True, True], [False, False, False]
    ]  # fmt: skip
