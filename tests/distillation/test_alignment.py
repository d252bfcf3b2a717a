"""The three levels, against torch's own divergence and against matrices written out, in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imlkd.distillation.alignment import batch_level, class_level, instance_level

TAUS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=3)
SIZES = {"rows": st.integers(1, 6), "classes": st.integers(2, 9), "seed": st.integers(0, 50), "taus": TAUS}


def logits(rows: int, classes: int, seed: int, scale: float = 6.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = scale * torch.randn(2, rows, classes, generator=generator, dtype=torch.float64)
    return both[0], both[1]


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


@settings(deadline=None, max_examples=60)
@given(**SIZES)
def test_instance_level_by_the_definition(rows: int, classes: int, seed: int, taus: list[float]) -> None:
    student, teacher = logits(rows, classes, seed)
    expected = 0.0
    for tau in taus:
        p, q = softmax(teacher.numpy() / tau), softmax(student.numpy() / tau)
        expected += tau**2 * (p * (np.log(p) - np.log(q))).sum(1).mean() / len(taus)
    np.testing.assert_allclose(instance_level(student, teacher, taus).item(), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(**SIZES)
def test_batch_level_by_its_matrices(rows: int, classes: int, seed: int, taus: list[float]) -> None:
    student, teacher = logits(rows, classes, seed)
    expected = 0.0
    for tau in taus:
        p, q = softmax(teacher.numpy() / tau), softmax(student.numpy() / tau)
        expected += np.linalg.norm(p @ p.T - q @ q.T, "fro") ** 2 / rows / len(taus)
    np.testing.assert_allclose(batch_level(student, teacher, taus).item(), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(**SIZES)
def test_class_level_by_its_matrices(rows: int, classes: int, seed: int, taus: list[float]) -> None:
    """The identity that saves the C x C matrices."""
    student, teacher = logits(rows, classes, seed)
    expected = 0.0
    for tau in taus:
        p, q = softmax(teacher.numpy() / tau), softmax(student.numpy() / tau)
        expected += np.linalg.norm(p.T @ p - q.T @ q, "fro") ** 2 / rows / len(taus)
    np.testing.assert_allclose(class_level(student, teacher, taus).item(), expected, rtol=1e-9, atol=1e-12)


LEVELS = [instance_level, batch_level, class_level]


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_by_differences(level: object) -> None:
    student, teacher = logits(4, 5, 0, 2.0)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: level(x, teacher, [1.0, 3.0]), (student,))  # type: ignore[operator]


@pytest.mark.parametrize("level", LEVELS)
def test_equal_outputs_cost_nothing_and_pull_nowhere(level: object) -> None:
    student, _ = logits(5, 7, 1)
    student.requires_grad_()
    loss = level(student, student.detach().clone(), [2.0, 3.0])  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(loss, student)
    assert 0 <= loss.item() < 1e-12 and gradient.abs().max() < 1e-12


@pytest.mark.parametrize("level", LEVELS)
def test_a_constant_added_to_a_rows_logits_changes_nothing(level: object) -> None:
    student, teacher = logits(4, 5, 2)
    shifted = student + torch.arange(4.0, dtype=torch.float64)[:, None]
    first, second = (level(x, teacher, [2.0]).item() for x in (student, shifted))  # type: ignore[operator]
    assert first == pytest.approx(second, rel=1e-12)


def test_what_the_levels_see() -> None:
    """Two rows that change places with their labels: the batch level is blind to it, the class level not always."""
    teacher = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]], dtype=torch.float64)
    student = teacher[[1, 0]]
    assert batch_level(student, teacher, [1.0]).item() < 1e-12
    assert class_level(student, teacher, [1.0]).item() < 1e-12
    assert instance_level(student, teacher, [1.0]).item() > 1.0
    other = teacher[:, [2, 1, 0]]
    assert batch_level(other, teacher, [1.0]).item() < 1e-12
    assert class_level(other, teacher, [1.0]).item() > 0.5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_full(level: object, dtype: torch.dtype) -> None:
    student, teacher = (x.to(dtype) for x in logits(4, 300, 3))
    found = level(student, teacher, [2.0])  # type: ignore[operator]
    expected = level(student.double(), teacher.double(), [2.0])  # type: ignore[operator]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-8)


def test_many_classes_need_no_square_of_them() -> None:
    student, teacher = logits(4, 200_000, 4)  # 200,000 squared would be 298 GiB
    assert class_level(student, teacher, [2.0]).item() >= 0.0
