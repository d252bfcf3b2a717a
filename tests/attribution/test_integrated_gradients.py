"""Integrated Gradients: exact on a linear model, against sums written out in double precision on others."""

import numpy as np
import pytest
import torch
from torch import Tensor

from imlkd.attribution.integrated_gradients import SMALLEST_CHANGE, explain
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.features.fbank import FbankConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import CosineHead, SpeakerModel, SpeakerOutput
from imlkd.models.tdnn import Tdnn, TdnnConfig


class Functional(SpeakerModel):
    """Cosines are any function of the frames."""

    def __init__(self, function: object) -> None:
        super().__init__(None, 1)  # type: ignore[arg-type]
        self.function = function
        self.head = CosineHead(1, ["a", "b"])

    def forward(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        assert (lengths == features.shape[1]).all()
        return SpeakerOutput([], features, features, self.function(features))  # type: ignore[operator]


def random_features(batch: int = 3, frames: int = 12, dim: int = 4) -> Tensor:
    return torch.randn(batch, frames, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tdnn() -> Tdnn:
    """In double precision, with statistics of its own."""
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=2, embedding_dim=5), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(5, ["a", "b", "c"])
    model.train()(torch.randn(6, 30, 8), torch.full((6,), 30))
    return model.double().eval().requires_grad_(False)


def brute_force(
    model: SpeakerModel, features: Tensor, labels: Tensor, baseline: Tensor, rule: str, nodes: int
) -> Tensor:
    """The integral as a loop over its nodes."""
    if rule == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(nodes)
        points, weights = (points + 1) / 2, weights / 2
    else:
        points, weights = (np.arange(nodes) + 0.5) / nodes, np.full(nodes, 1 / nodes)
    total = torch.zeros_like(features)
    for point, weight in zip(points, weights, strict=True):
        at = (baseline + point * (features - baseline)).requires_grad_()
        cosines = model(at, torch.full((len(at),), at.shape[1])).cosines
        assert cosines is not None
        total += weight * torch.autograd.grad(cosines.gather(1, labels[:, None]).sum(), at)[0]
    return (features - baseline) * total


def test_a_linear_model_is_explained_exactly() -> None:
    weights = torch.randn(2, 12, 4, dtype=torch.float64)
    model = Functional(lambda x: torch.einsum("btf,ctf->bc", x, weights) + 7.0)
    features, labels = random_features(), torch.tensor([0, 1, 1])
    found = explain(model, features, labels, 12, RelevanceConfig(nodes=2))
    expected = (features - features.mean(1, keepdim=True)) * weights[labels]
    torch.testing.assert_close(found.attribution, expected.float())
    assert (found.error < 1e-6).all()


def test_a_smooth_model_against_two_thousand_points() -> None:
    weights = torch.randn(2, 12, 4, dtype=torch.float64)
    model = Functional(lambda x: torch.tanh(torch.einsum("btf,ctf->bc", x.sin() * x, weights)))
    features, labels = random_features(1), torch.tensor([1])
    expected = brute_force(model, features, labels, features.mean(1, keepdim=True), "riemann_middle", 2000)
    found = explain(model, features, labels, 12, RelevanceConfig(nodes=64, rule="clenshaw-curtis"))
    torch.testing.assert_close(found.attribution, expected.float(), rtol=1e-4, atol=1e-6)
    assert (found.error < 1e-5).all()


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_middle"])
@pytest.mark.parametrize("nodes", [2, 5, 16])
def test_the_rules_by_their_nodes(rule: str, nodes: int) -> None:
    model, labels = tdnn(), torch.tensor([2, 0, 1, 1])
    features = random_features(4, 21, 8)
    expected = brute_force(model, features, labels, features.mean(1, keepdim=True), rule, nodes)
    found = explain(model, features, labels, 21, RelevanceConfig(nodes=nodes, rule=rule))
    torch.testing.assert_close(found.attribution, expected.float(), rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        baseline = features.mean(1, keepdim=True).expand_as(features)
        lengths = torch.full((4,), 21)
        ends = [model(at, lengths).cosines.gather(1, labels[:, None])[:, 0] for at in (features, baseline)]
    change = ends[0] - ends[1]
    error = (expected.sum((1, 2)) - change).abs() / change.abs().clamp_min(SMALLEST_CHANGE)
    torch.testing.assert_close(found.error, error.float(), rtol=1e-4, atol=1e-6)


def test_more_nodes_complete_better() -> None:
    model, labels, features = tdnn(), torch.tensor([0, 1, 2]), random_features(3, 40, 8)
    errors = [explain(model, features, labels, 40, RelevanceConfig(nodes=nodes)).error.mean() for nodes in (2, 64)]
    assert errors[1] < 0.2 * errors[0]


def test_rows_do_not_touch_each_other() -> None:
    model, labels, features = tdnn(), torch.tensor([0, 1, 2]), random_features(3, 20, 8)
    together = explain(model, features, labels, 20, RelevanceConfig(nodes=6))
    for row in range(3):
        alone = explain(model, features[row : row + 1], labels[row : row + 1], 20, RelevanceConfig(nodes=6))
        torch.testing.assert_close(together.attribution[row], alone.attribution[0])
        torch.testing.assert_close(together.error[row], alone.error[0], rtol=1e-3, atol=1e-6)


def test_nothing_is_attributed_where_input_and_baseline_agree() -> None:
    """A front-end's padding, and a bin that does not change over time."""
    features = random_features(2, 20, 8)
    features[:, :, 3] = 1.5
    before = features.clone()
    found = explain(tdnn(), features, torch.tensor([0, 1]), 14, RelevanceConfig(nodes=4))
    assert not found.attribution[:, 14:].any()
    assert found.attribution[:, :, 3].abs().max() < 1e-12
    assert found.attribution[:, :14].abs().sum((1, 2)).gt(0).all()
    assert torch.equal(features, before)


def test_an_input_without_change_is_no_division_by_zero() -> None:
    found = explain(tdnn(), torch.ones(1, 20, 8, dtype=torch.float64), torch.tensor([0]), 20, RelevanceConfig(nodes=2))
    assert not found.attribution.any() and found.error.item() < 1e-6


def test_the_recurrent_teacher_is_explained_too() -> None:
    torch.manual_seed(0)
    model = Ge2e()
    model.head = CosineHead(256, ["a", "b"])
    model.eval().requires_grad_(False)
    features = model.frontend(0.1 * torch.randn(16000))[None]
    assert features.shape[1] == 161
    found = explain(model, features, torch.tensor([1]), 100, RelevanceConfig(nodes=16))
    assert not found.attribution[:, 100:].any() and found.attribution[:, :100].any()
    assert found.error.item() < 0.05
