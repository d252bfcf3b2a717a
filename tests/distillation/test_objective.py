"""The whole loss of a step, and methods by name."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.margin import aam_loss
from imlkd.distillation.method import Method
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.distillation.objective import METHODS, Objective, build_method
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig


def student() -> Tdnn:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(5, ["a", "b", "c"])
    return model.train()


def make_batch(rows: int = 6) -> DistillationBatch:
    generator = torch.Generator().manual_seed(1)
    return DistillationBatch(
        torch.randn(rows, 20, 8, generator=generator),
        torch.arange(rows) % 3,
        10 * torch.randn(rows, 3, generator=generator),
        torch.rand(rows, 20, generator=generator),
        10 * torch.randn(rows, 3, generator=generator),
    )


def gradients(method: Method, ramp: float = 1.0) -> dict[str, Tensor]:
    model = student()
    loss, _ = Objective(method, 0.2, 30.0)(model, make_batch(), ramp)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(
    ("method", "ramp"),
    [
        (Kd(KdConfig(weight=0.0)), 1.0),
        (Kd(KdConfig()), 0.0),
        (Imlkd(ImlkdConfig(weight_input=0.0, weight_integrated=0.0)), 1.0),
        (Imlkd(ImlkdConfig(weight_integrated=0.0)), 0.0),
    ],
)
def test_without_weight_a_method_is_no_method(method: Method, ramp: float) -> None:
    expected = gradients(NoTeacher(NoTeacherConfig()))
    found = gradients(method, ramp)
    assert found.keys() == expected.keys() and len(found) > 5
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", [Kd(KdConfig()), Imlkd(ImlkdConfig())])
def test_with_weight_it_is_another(method: Method) -> None:
    expected, found = gradients(NoTeacher(NoTeacherConfig())), gradients(method)
    assert any(not torch.allclose(found[name], gradient, rtol=1e-2) for name, gradient in expected.items())


@pytest.mark.parametrize("ramp", [0.25, 1.0])
def test_the_loss_is_the_sum_of_its_terms(ramp: float) -> None:
    batch, method = make_batch(), Imlkd(ImlkdConfig())
    loss, terms = Objective(method, 0.2, 30.0)(student(), batch, ramp)
    names = ["aam", "instance", "batch", "class", "instance_ii", "batch_ii", "class_ii"]
    assert list(terms) == names
    torch.testing.assert_close(loss, torch.stack(list(terms.values())).sum())
    model = student()  # all views go through the student as one batch
    inputs = method.views(batch, model)
    output = model(torch.cat(inputs), torch.full((12,), 20))
    assert output.cosines is not None
    torch.testing.assert_close(terms["aam"], aam_loss(output.cosines[:6], batch.labels, 0.2, 30.0))
    views = [View(own, output, 30.0 * part) for own, part in zip(inputs, output.cosines.split(6), strict=True)]
    expected = method.terms(batch, views)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], ramp * value)


def test_the_labels_count_on_the_plain_input_only() -> None:
    """Without alignment the integrated view pulls at nothing but the batch statistics."""
    batch = make_batch()
    model = student().eval()
    method = Imlkd(ImlkdConfig(weight_input=0.0, weight_integrated=1e-12))
    with_view, _ = Objective(method, 0.2, 30.0)(model, batch, 1.0)
    without, _ = Objective(NoTeacher(NoTeacherConfig()), 0.2, 30.0)(model, batch, 1.0)
    torch.testing.assert_close(with_view, without)


def test_a_student_without_a_head() -> None:
    model = student()
    model.head = None
    with pytest.raises(AssertionError, match="the student has no head"):
        Objective(NoTeacher(NoTeacherConfig()), 0.2, 30.0)(model, make_batch())


# Names


def test_methods_by_name(tmp_path: Path) -> None:
    (tmp_path / "kd.yaml").write_text("temperature: 5\n")
    built = build_method("kd", tmp_path / "kd.yaml", ["weight=0.5"])
    assert isinstance(built, Kd) and built.config == KdConfig(weight=0.5, temperature=5.0)
    built = {name: type(build_method(name)) for name in METHODS}
    assert built["none"] is NoTeacher and built["kd"] is Kd and built["imlkd"] is Imlkd
    assert len(set(built.values())) == len(METHODS) == 20


KNOWN = (
    "none, kd, imlkd, dkd, enskd, mlld, interkd, emb-mse, emb-cos, vickd, rkd, sp, mlxv, at, fitnets, iusp, mlkd-noisy,"
    " mvq, oskdft, ig-match"
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imkld", "unknown method 'imkld': did you mean imlkd?"),
        ("KD", "unknown method 'KD': known: " + KNOWN),
        ("non", "unknown method 'non': did you mean none?"),
        ("", "unknown method '': known: " + KNOWN),
        ("xyz", "unknown method 'xyz': known: " + KNOWN),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_method(name, None)
    assert str(caught.value) == message


def test_bad_settings_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "imlkd.yaml"
    for text, message in (
        ("weight_inputs: 1\n", "unknown key weight_inputs: did you mean weight_input?"),
        ("gram_temperatures: []\n", "gram_temperatures: an empty list"),
        ("weight_class: -1\n", "weight_class: -1.0 is below the smallest allowed value 0.0"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=f"^{path}:1: {message}"):
            build_method("imlkd", path)
