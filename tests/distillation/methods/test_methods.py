"""Each method's terms, computed by hand from the same logits."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import SpeakerOutput
from imlkd.models.tdnn import Tdnn, TdnnConfig

ROWS, FRAMES, DIM, CLASSES = 4, 9, 3, 5
STUDENT = Tdnn(TdnnConfig(width=4), FbankConfig())


@pytest.fixture
def batch() -> DistillationBatch:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    gate = 0.5 + 0.5 * torch.rand(ROWS, FRAMES, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 1])
    return DistillationBatch(draw(ROWS, FRAMES, DIM), labels, 9 * draw(ROWS, CLASSES), gate, 9 * draw(ROWS, CLASSES))


def student_logits(seed: int) -> Tensor:
    return said(seed).logits


def said(seed: int) -> View:
    """A student's answer of which only the logits count."""
    nothing = torch.zeros(ROWS, 1)
    return View(nothing, SpeakerOutput([], nothing, nothing, None), drawn_logits(seed))


def drawn_logits(seed: int) -> Tensor:
    return 9 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kl(teacher: Tensor, student: Tensor, tau: float) -> Tensor:
    p = (teacher / tau).softmax(1)
    return tau**2 * (p * (p.log() - (student / tau).softmax(1).log())).sum(1).mean()


def gram(teacher: Tensor, student: Tensor, tau: float, of_classes: bool) -> Tensor:
    p, q = (teacher / tau).softmax(1), (student / tau).softmax(1)
    difference = p.T @ p - q.T @ q if of_classes else p @ p.T - q @ q.T
    return torch.linalg.matrix_norm(difference, "fro") ** 2 / len(p)


def test_no_teacher(batch: DistillationBatch) -> None:
    method = NoTeacher(NoTeacherConfig())
    assert method.needs == Needs() and not method.needs.teacher_logits
    assert len(method.views(batch, STUDENT)) == 1 and method.views(batch, STUDENT)[0] is batch.features
    assert method.terms(batch, [said(1)]) == {}


def test_kd(batch: DistillationBatch) -> None:
    method = Kd(KdConfig(weight=0.7, temperature=4.0))
    assert method.needs.teacher_logits and not method.needs.relevance
    student = student_logits(1)
    terms = method.terms(batch, [said(1)])
    assert terms.keys() == {"instance"} and len(method.views(batch, STUDENT)) == 1
    assert batch.teacher_logits is not None
    torch.testing.assert_close(terms["instance"], 0.7 * kl(batch.teacher_logits, student, 4.0))
    expected = functional.kl_div(
        (student / 4).log_softmax(1), (batch.teacher_logits / 4).softmax(1), reduction="batchmean"
    )
    torch.testing.assert_close(terms["instance"], 0.7 * 16 * expected)


def test_imlkd(batch: DistillationBatch) -> None:
    config = ImlkdConfig(
        weight_input=0.3, weight_integrated=0.6, weight_batch=2.0, weight_class=5.0,
        instance_temperatures=[2.0, 4.0], gram_temperatures=[1.0, 3.0],
    )  # fmt: skip
    method = Imlkd(config)
    assert method.needs.teacher_logits and method.needs.relevance
    first, second = student_logits(1), student_logits(2)
    terms = method.terms(batch, [said(1), said(2)])
    assert batch.teacher_logits is not None and batch.teacher_logits_gated is not None
    expected = {}
    for suffix, weight, teacher, student in (
        ("", 0.3, batch.teacher_logits, first),
        ("_ii", 0.6, batch.teacher_logits_gated, second),
    ):
        expected["instance" + suffix] = weight * (kl(teacher, student, 2.0) + kl(teacher, student, 4.0)) / 2
        for name, lam, of_classes in (("batch", 2.0, False), ("class", 5.0, True)):
            both = gram(teacher, student, 1.0, of_classes) + gram(teacher, student, 3.0, of_classes)
            expected[name + suffix] = weight * lam * both / 2
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)


def test_the_integrated_input_is_the_second_view(batch: DistillationBatch) -> None:
    views = Imlkd(ImlkdConfig()).views(batch, STUDENT)
    assert views[0] is batch.features and batch.gate is not None
    mean = batch.features.mean(1, keepdim=True)
    torch.testing.assert_close(views[1], mean + batch.gate[:, :, None] * (batch.features - mean))


def test_without_its_weight_the_integrated_input_is_left_out(batch: DistillationBatch) -> None:
    """Multi-level distillation: the same code with w_i = 0."""
    method = Imlkd(ImlkdConfig(weight_integrated=0.0))
    assert len(method.views(batch, STUDENT)) == 1
    whole = Imlkd(ImlkdConfig()).terms(batch, [said(1), said(2)])
    terms = method.terms(batch, [said(1)])
    assert terms.keys() == {"instance", "batch", "class"}
    assert all(torch.equal(value, whole[name]) for name, value in terms.items())


def test_without_gram_terms_and_integrated_input_it_is_kd(batch: DistillationBatch) -> None:
    config = ImlkdConfig(weight_integrated=0.0, weight_batch=0.0, weight_class=0.0, instance_temperatures=[3.0])
    terms = Imlkd(config).terms(batch, [said(1)])
    torch.testing.assert_close(terms["instance"], Kd(KdConfig(temperature=3.0)).terms(batch, [said(1)])["instance"])
    assert terms["batch"].item() == terms["class"].item() == 0.0


WEIGHTS = ["weight_input", "weight_integrated", "weight_instance", "weight_batch", "weight_class"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_each_weight_is_a_factor_of_its_terms(batch: DistillationBatch, name: str) -> None:
    views = [said(1), said(2)]
    single = Imlkd(ImlkdConfig()).terms(batch, views)
    double = Imlkd(dataclasses.replace(ImlkdConfig(), **{name: 2.0})).terms(batch, views)
    concerned = {
        "weight_input": {"instance", "batch", "class"},
        "weight_integrated": {"instance_ii", "batch_ii", "class_ii"},
        "weight_instance": {"instance", "instance_ii"},
        "weight_batch": {"batch", "batch_ii"},
        "weight_class": {"class", "class_ii"},
    }[name]
    for term, value in single.items():
        torch.testing.assert_close(double[term], (2.0 if term in concerned else 1.0) * value)


def test_a_method_of_ones_own_has_to_say_its_terms(batch: DistillationBatch) -> None:
    with pytest.raises(NotImplementedError):
        Method().terms(batch, [said(1)])


@pytest.mark.parametrize("method", [NoTeacher(NoTeacherConfig()), Kd(KdConfig()), Imlkd(ImlkdConfig())])
def test_no_trainable_projections(method: Method) -> None:
    assert not list(method.parameters())
