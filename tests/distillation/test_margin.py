"""AAM softmax against its definition by angles, in double precision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.distillation.margin import aam_loss


def by_angles(cosines: np.ndarray, labels: list[int], margin: float, scale: float) -> float:
    """Row by row: cos(theta + m) while theta + m is below pi, a line of slope 1 in the cosine beyond."""
    losses = []
    for row, label in zip(cosines, labels, strict=True):
        theta = math.acos(row[label])
        target = math.cos(theta + margin) if theta + margin < math.pi else row[label] - margin * math.sin(margin)
        values = [scale * (target if i == label else cosine) for i, cosine in enumerate(row)]
        top = max(values)
        losses.append(top + math.log(sum(math.exp(v - top) for v in values)) - values[label])
    return sum(losses) / len(losses)


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    classes=st.integers(2, 6),
    margin=st.sampled_from([0.0, 0.2, 0.5, 1.5]),
    scale=st.sampled_from([1.0, 30.0]),
)
def test_the_definition(data: st.DataObject, classes: int, margin: float, scale: float) -> None:
    rows = data.draw(
        st.lists(st.lists(st.floats(-0.999, 0.999), min_size=classes, max_size=classes), min_size=1, max_size=4)
    )
    labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows)))
    cosines = torch.tensor(rows, dtype=torch.float64)
    found = aam_loss(cosines, torch.tensor(labels), margin, scale).item()
    np.testing.assert_allclose(found, by_angles(np.array(rows), labels, margin, scale), rtol=1e-7, atol=1e-9)


def test_by_hand() -> None:
    """Target cosine cos(1.0), margin 0.2: cos(1.2) = 0.362358; the other class 0; scale 1."""
    cosines = torch.tensor([[math.cos(1.0), 0.0]], dtype=torch.float64)
    assert aam_loss(cosines, torch.tensor([0]), 0.2, 1.0).item() == pytest.approx(math.log(1 + math.exp(-0.3623578)))


def test_without_margin_it_is_cross_entropy() -> None:
    cosines, labels = torch.rand(5, 4, dtype=torch.float64) * 2 - 1, torch.tensor([0, 1, 2, 3, 0])
    expected = torch.nn.functional.cross_entropy(30 * cosines, labels)
    torch.testing.assert_close(aam_loss(cosines, labels, 0.0, 30.0), expected)


def test_gradients_by_differences_on_both_sides_of_the_bend() -> None:
    cosines = torch.tensor([[0.3, -0.5, 0.1], [0.2, -0.99, 0.4]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1])  # the second: theta + 0.2 passes pi
    assert math.acos(-0.99) + 0.2 > math.pi
    assert torch.autograd.gradcheck(lambda x: aam_loss(x, labels, 0.2, 5.0), (cosines,))


def test_the_target_logit_falls_with_the_angle_everywhere() -> None:
    """A larger cosine to the own class is never punished, also where theta + margin passes pi."""
    own = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    cosines = torch.cat([own, torch.zeros_like(own)], 1)
    losses = [aam_loss(row[None], torch.tensor([0]), 0.5, 30.0).item() for row in cosines]
    assert all(b < a + 1e-9 for a, b in zip(losses, losses[1:], strict=False))


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_the_ends_have_finite_gradients(cosine: float) -> None:
    cosines = torch.tensor([[cosine, 0.0]], requires_grad=True)
    aam_loss(cosines, torch.tensor([0]), 0.2, 30.0).backward()
    assert cosines.grad is not None and torch.isfinite(cosines.grad).all()


def test_half_precision_is_computed_in_full() -> None:
    cosines = (torch.rand(3, 4) * 2 - 1).half()
    loss = aam_loss(cosines, torch.tensor([0, 1, 2]), 0.2, 30.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), aam_loss(cosines.double(), torch.tensor([0, 1, 2]), 0.2, 30.0))


@given(seed=st.integers(0, 10**6), top_k=st.integers(1, 9))
def test_the_nearest_other_classes_are_pushed_away(seed: int, top_k: int) -> None:
    """Against a loop over angles."""
    generator = torch.Generator().manual_seed(seed)
    cosines = 2 * torch.rand(4, 6, generator=generator, dtype=torch.float64) - 1
    labels = torch.randint(6, (4,), generator=generator)
    total = 0.0
    for row, label in zip(cosines.tolist(), labels.tolist(), strict=True):
        others = sorted((c for i, c in enumerate(row) if i != label), reverse=True)
        angles = [max(0.0, math.acos(c) - 0.1) if rank < top_k else math.acos(c) for rank, c in enumerate(others)]
        own = math.acos(row[label])
        target = math.cos(own + 0.2) if own + 0.2 < math.pi else row[label] - 0.2 * math.sin(0.2)
        logits = [8 * target, *(8 * math.cos(angle) for angle in angles)]
        total += math.log(sum(map(math.exp, logits))) - logits[0]
    found = aam_loss(cosines, labels, 0.2, 8.0, top_k, 0.1)
    assert found.item() == pytest.approx(total / 4, rel=1e-6)
