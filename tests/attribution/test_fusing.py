"""Fused layers give the values and gradients of the layers that they stand for, with and without a mask."""

import copy

import pytest
import torch

from imlkd.attribution.fusing import FusedFrameLayer, FusedPooling, fuse
from tests.attribution.engine_models import features_of, model_of


@pytest.mark.parametrize("lengths", [[60, 60, 60], [60, 31, 44]])
@pytest.mark.parametrize("name", ["ecapa", "xvector"])
def test_values_and_gradients_are_the_same(name: str, lengths: list[int]) -> None:
    plain = model_of(name)
    fused = copy.deepcopy(plain)
    assert fuse(fused) > 3 and fuse(plain.head) == 0
    x = torch.stack([features_of(plain, 60, seed=i) for i in range(3)])
    found = []
    for model in (plain, fused):
        points = x.clone().requires_grad_()
        cosines = model(points, torch.tensor(lengths)).cosines[:, 1]
        found.append((cosines.detach(), torch.autograd.grad(cosines.sum(), points)[0]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


def test_what_is_fused() -> None:
    kinds = [type(module) for module in _fused("ecapa").modules()]
    assert kinds.count(FusedPooling) == 1 and kinds.count(FusedFrameLayer) > 10
    assert fuse(copy.deepcopy(model_of("ge2e"))) == 0


def _fused(name: str) -> torch.nn.Module:
    model = copy.deepcopy(model_of(name))
    fuse(model)
    return model
