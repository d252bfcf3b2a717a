"""Each pure loss against a brute force of its formula in float64 or by hand, and its gradient by differences."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.alignment import instance_level
from imlkd.distillation.augmented import masked, noisy
from imlkd.distillation.methods.at import attention, attention_distance
from imlkd.distillation.methods.dkd import others_term, target_term
from imlkd.distillation.methods.emb_cos import cosine_distance
from imlkd.distillation.methods.emb_mse import squared_distance
from imlkd.distillation.methods.fitnets import hint_distance
from imlkd.distillation.methods.ig_match import student_relevance
from imlkd.distillation.methods.iusp import frame_similarity_distance
from imlkd.distillation.methods.mlxv import levels
from imlkd.distillation.methods.rkd import corner_cosines, relative_distances
from imlkd.distillation.methods.sp import similarities
from imlkd.distillation.methods.vickd import covariance_term, variance_term
from imlkd.distillation.stages import at_one_rate, level_distance, paired, standardised, statistics
from imlkd.models.speaker_model import SpeakerOutput


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([0, 3, 1, 1])


# Posteriors


@pytest.mark.parametrize("tau", [1.0, 2.0, 5.0])
def test_decoupled_terms_by_brute_force(tau: float) -> None:
    student, teacher = 4 * draw(4, 5), 4 * draw(4, 5, seed=1)
    for row, label in enumerate(LABELS.tolist()):
        p, q = (np.exp(z[row].numpy() / tau) / np.exp(z[row].numpy() / tau).sum() for z in (teacher, student))
        binary = p[label] * math.log(p[label] / q[label])
        binary += (1 - p[label]) * math.log((1 - p[label]) / (1 - q[label]))
        others = [j for j in range(5) if j != label]
        p, q = p[others] / p[others].sum(), q[others] / q[others].sum()
        assert target_term(student, teacher, LABELS, tau)[row].item() == pytest.approx(binary, rel=1e-9)
        expected = float((p * np.log(p / q)).sum())
        assert others_term(student, teacher, LABELS, tau)[row].item() == pytest.approx(expected, rel=1e-9)


def test_dkd_with_beta_one_minus_p_is_kd() -> None:
    """Zhao et al., eq. 6: the identity that decoupling starts from."""
    student, teacher = 6 * draw(4, 7), 6 * draw(4, 7, seed=1)
    rest = 1.0 - (teacher / 3).softmax(1).gather(1, LABELS[:, None])[:, 0]
    parts = target_term(student, teacher, LABELS, 3.0) + rest * others_term(student, teacher, LABELS, 3.0)
    torch.testing.assert_close(9.0 * parts.mean(), instance_level(student, teacher, [3.0]), rtol=1e-12, atol=0)


def test_a_certain_teacher_leaves_the_terms_finite() -> None:
    teacher, student = torch.zeros(4, 5), torch.zeros(4, 5)
    teacher.scatter_(1, LABELS[:, None], 2000.0)
    student.scatter_(1, LABELS[:, None], -2000.0)
    assert target_term(student, teacher, LABELS, 1.0).isfinite().all()
    torch.testing.assert_close(others_term(student, teacher, LABELS, 1.0), torch.zeros(4))


# Embeddings


def test_cosine_and_squared_distance() -> None:
    student, teacher = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[4.0, 3.0], [1.0, 0.0]])
    assert cosine_distance(student, teacher).item() == pytest.approx(1 - (24 / 25 + 0) / 2)
    assert squared_distance(student, teacher).item() == pytest.approx((1 + 1 + 1 + 4) / 4)


def test_relations_of_a_right_triangle() -> None:
    """Sides 3, 4, 5: mean 4; cosine 0 at the right angle, 0.6 and 0.8 at the others."""
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    expected = torch.tensor([[0, 0.75, 1], [0.75, 0, 1.25], [1, 1.25, 0]])
    torch.testing.assert_close(relative_distances(corners), expected)
    cosines = corner_cosines(corners)
    torch.testing.assert_close(cosines[0, 1, 2], torch.tensor(0.0))
    torch.testing.assert_close(cosines[1, 0, 2], torch.tensor(0.6))
    torch.testing.assert_close(cosines[2, 0, 1], torch.tensor(0.8))


def test_relations_by_loops() -> None:
    rows = draw(5, 3)
    distances, cosines = relative_distances(rows), corner_cosines(rows)
    pairs = [(rows[i] - rows[j]).norm() for i in range(5) for j in range(5) if i != j]
    for i in range(5):
        for j in range(5):
            assert distances[i, j].item() == pytest.approx(float((rows[i] - rows[j]).norm() / sum(pairs) * 20))
            for k in range(5):
                if len({i, j, k}) == 3:
                    expected = functional.cosine_similarity(rows[j] - rows[i], rows[k] - rows[i], dim=0)
                    assert cosines[i, j, k].item() == pytest.approx(expected.item())


def test_equal_rows_have_a_gradient() -> None:
    rows = torch.ones(4, 3, requires_grad=True)
    (relative_distances(rows).sum() + corner_cosines(rows).sum()).backward()
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_similarities_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # inner products [[1, 1], [1, 2]]
    expected = torch.tensor([[2**-0.5, 2**-0.5], [5**-0.5, 2 * 5**-0.5]])
    torch.testing.assert_close(similarities(rows), expected)


def test_variance_and_covariance_against_numpy() -> None:
    rows = 0.5 * draw(9, 4)
    covariance = np.cov(rows.numpy().T)
    expected = ((covariance**2).sum() - (np.diag(covariance) ** 2).sum()) / 4
    assert covariance_term(rows).item() == pytest.approx(expected)
    short = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    assert variance_term(rows).item() == pytest.approx(short) and short > 0.1
    assert variance_term(10 * rows).item() == 0.0


# Frames


def test_attention_by_hand() -> None:
    stage = torch.tensor([[[3.0, 0.0], [1.0, 2.0]]])  # (1, 2 channels, 2 frames): mean squares 5 and 2
    torch.testing.assert_close(attention(stage), torch.tensor([[5.0, 2.0]]) / 29**0.5)
    assert attention_distance(stage, 7 * stage).item() == pytest.approx(0.0, abs=1e-12)
    other = torch.tensor([[[0.0, 1.0]]])
    expected = ((5 / 29**0.5) ** 2 + (2 / 29**0.5 - 1) ** 2) / 2
    assert attention_distance(stage, other).item() == pytest.approx(expected)


def test_frame_similarities_by_loops() -> None:
    student, teacher = draw(2, 3, 5), draw(2, 4, 5, seed=1)
    total = 0.0
    for row in range(2):
        grams = []
        for stage in (student, teacher):
            frames = stage[row].numpy().T - stage[row].numpy().T.mean(0)
            gram = frames @ frames.T
            grams.append(gram / np.linalg.norm(gram, axis=1, keepdims=True))
        total += ((grams[0] - grams[1]) ** 2).sum() / 25
    assert frame_similarity_distance(student, teacher).item() == pytest.approx(total / 2)


def test_hint_and_level_distances() -> None:
    student, teacher = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    theirs = teacher.numpy()
    normal = (theirs - theirs.mean((0, 2), keepdims=True)) / theirs.std((0, 2), keepdims=True)
    np.testing.assert_allclose(standardised(teacher).numpy(), normal)
    assert hint_distance(student, teacher).item() == pytest.approx(((student.numpy() - normal) ** 2).mean())
    total = np.abs(student.numpy() - theirs).mean()
    cosines = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(student.permute(0, 2, 1).reshape(-1, 3).numpy(), theirs.transpose(0, 2, 1).reshape(-1, 3),
                        strict=True)
    ]  # fmt: skip
    total += np.mean([math.log(1 + math.exp(-cosine)) for cosine in cosines])
    assert level_distance(student, teacher).item() == pytest.approx(total)


def test_levels_are_unit_vectors_side_by_side() -> None:
    output = SpeakerOutput([draw(2, 3, 4).float(), draw(2, 5, 4, seed=1).float()], draw(2, 1), draw(2, 7, seed=2), None)
    found = levels(output)
    assert found.shape == (2, 6 + 10 + 7)
    for part in found.split([6, 10, 7], 1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2))
    mean = output.stages[0].mean(2)
    ratio = found[:, :3] / mean
    torch.testing.assert_close(ratio, ratio[:, :1].expand(2, 3))


def test_statistics_against_numpy() -> None:
    stage = draw(2, 3, 6)
    expected = np.concatenate([stage.numpy().mean(2), np.sqrt(stage.numpy().var(2) + 1e-5)], 1)
    np.testing.assert_allclose(statistics(stage).numpy(), expected)


@pytest.mark.parametrize(
    ("students", "teachers", "expected"),
    [
        (3, 3, [(0, 0), (1, 1), (2, 2)]),
        (2, 4, [(0, 1), (1, 3)]),
        (4, 2, [(1, 0), (3, 1)]),
        (3, 4, [(0, 0), (1, 1), (2, 3)]),
        (1, 5, [(0, 4)]),
    ],
)
def test_pairs_of_stages(students: int, teachers: int, expected: list[tuple[int, int]]) -> None:
    assert paired(students, teachers) == expected


def test_one_frame_rate() -> None:
    fast, slow = torch.arange(8.0).view(1, 1, 8), torch.zeros(1, 2, 4)
    ours, theirs = at_one_rate(fast, slow)
    torch.testing.assert_close(ours, torch.tensor([[[0.5, 2.5, 4.5, 6.5]]]))
    assert theirs is slow


# Relevance


def test_relevance_of_a_linear_student() -> None:
    """F(x) = sum w x: the gradient is w, so the curve is relu(sum_f w (x - mean)) brought to [0, 1]."""
    features, weights = draw(2, 6, 3), draw(2, 6, 3, seed=1)
    leaf = features.clone().requires_grad_()
    curve = student_relevance(leaf, (weights * leaf).sum((1, 2)))
    expected = np.maximum(((features - features.mean(1, keepdim=True)) * weights).sum(2).numpy(), 0)
    expected = (expected - expected.min(1, keepdims=True)) / np.ptp(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(curve.detach().numpy(), expected, atol=1e-7)


# Views


def test_masked_frames_and_bins_are_the_mean_frame() -> None:
    torch.manual_seed(0)
    features = draw(50, 40, 20)
    view = masked(features, 0.5, 0.5)
    changed = view != features
    mean = features.mean(1, keepdim=True).expand_as(features)
    assert torch.equal(view[changed], mean[changed])
    frames, bins = changed.all(2).sum(1), changed.all(1).sum(1)
    assert 15 < frames.max() <= 20 and 7 < bins.max() <= 10  # as long as the share allows, no longer
    stretch = changed.all(2).float()
    assert (stretch.diff(dim=1).abs().sum(1) <= 2).all()  # one stretch a row
    assert torch.equal(masked(features, 0.0, 0.0), features)


def test_noise_has_the_ratio_asked() -> None:
    torch.manual_seed(0)
    features = 0.3 * draw(200, 60, 30) - 4.0
    for ratio in (0.0, 10.0):
        added = noisy(features, ratio, ratio).exp() - features.exp()
        found = 10 * torch.log10(features.exp().mean((1, 2)) / added.mean((1, 2)))
        assert abs(found.mean().item() - ratio) < 1.5 and (added > 0).all()


# Gradients

LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "target": (lambda z: target_term(z, 4 * draw(4, 5, seed=1), LABELS, 2.0), draw(4, 5)),
    "others": (lambda z: others_term(z, 4 * draw(4, 5, seed=1), LABELS, 2.0), draw(4, 5)),
    "cosine": (lambda e: cosine_distance(e, draw(4, 3, seed=1)), draw(4, 3)),
    "square": (lambda e: squared_distance(e, draw(4, 3, seed=1)), draw(4, 3)),
    "distances": (lambda e: relative_distances(e), draw(4, 3)),
    "angles": (lambda e: corner_cosines(e), draw(4, 3)),
    "similarities": (lambda e: similarities(e), draw(4, 3)),
    "variance": (lambda e: variance_term(0.3 * e), draw(6, 3)),
    "covariance": (lambda e: covariance_term(e), draw(6, 3)),
    "attention": (lambda f: attention_distance(f, draw(2, 3, 5, seed=1)), draw(2, 4, 5)),
    "frames": (lambda f: frame_similarity_distance(f, draw(2, 3, 5, seed=1)), draw(2, 4, 5)),
    "hint": (lambda f: hint_distance(f, draw(2, 4, 5, seed=1)), draw(2, 4, 5)),
    "levels": (lambda f: level_distance(f, draw(2, 4, 5, seed=1)), draw(2, 4, 5)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_by_differences(name: str) -> None:
    loss, point = LOSSES[name]
    assert torch.autograd.gradcheck(loss, point.clone().requires_grad_())
