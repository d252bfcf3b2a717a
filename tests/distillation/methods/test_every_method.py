"""What every method does: lowers its own loss, leaves the teacher alone, and is no method without weights."""

import dataclasses

import pytest
import torch
from torch import Tensor

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.combined import Combined, TwoViews
from imlkd.distillation.method import Method
from imlkd.distillation.objective import METHODS, Objective, build_method
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.live_teacher import LiveTeacher, prepare_method

FBANK = FbankConfig(num_mel_bins=8)
SPEAKERS = ["a", "b", "c", "d"]
ROWS, FRAMES = 12, 40
TRAINABLE = [name for name in METHODS if name != "none"]
LABELLED_TWICE = ("mlld",)
SILENT = ("mlkd-noisy", "oskdft")  # whose second view counts for no label


def network(width: int, blocks: int, dim: int, seed: int, adapters: int = 0) -> Tdnn:
    torch.manual_seed(seed)
    model = Tdnn(TdnnConfig(width=width, blocks=blocks, embedding_dim=dim, adapters=adapters), FBANK)
    model.head = CosineHead(dim, SPEAKERS)
    return model


def teacher() -> Tdnn:
    """With statistics that fit its input, as a trained one has."""
    model = network(12, 3, 10, seed=5)
    for _ in range(20):
        model(make_features(), torch.full((ROWS,), FRAMES))
    return model.eval()


def make_features() -> Tensor:
    """Four speakers with a spectrum each, and noise."""
    generator = torch.Generator().manual_seed(1)
    spectra = 2 * torch.randn(4, 1, 8, generator=generator)
    return spectra[torch.arange(ROWS) % 4] + torch.randn(ROWS, FRAMES, 8, generator=generator)


class Live(LiveTeacher):
    def __init__(self, model: Tdnn) -> None:
        self.model = model.requires_grad_(False)


def make_batch(model: Tdnn) -> DistillationBatch:
    features, labels = make_features(), torch.arange(ROWS) % 4
    with torch.no_grad():
        output = model(features, torch.full((ROWS,), FRAMES))
    assert output.cosines is not None
    relevance = torch.rand(ROWS, FRAMES, generator=torch.Generator().manual_seed(2))
    logits = 30 * output.cosines
    return DistillationBatch(
        features, labels, logits, 0.5 + 0.5 * relevance, logits.roll(1, 1), output.embedding, output, relevance
    )


def student_of(name: str) -> Tdnn:
    return network(8, 2, 6, seed=0, adapters=4 if METHODS[name][0].needs.adapters else 0)


def built(name: str, *overrides: str) -> Method:
    """With a quantiser that learns for a moment only."""
    return build_method(name, None, [*overrides, *(["steps=8"] if name == "mvq" else [])])


def prepared(method: Method, student: Tdnn, model: Tdnn) -> Method:
    torch.manual_seed(7)
    prepare_method(method, student, Live(model), None, make_features()[:1])
    method.fit(lambda count: Live(model).answer(make_features()[:count]).stages[-1])
    return method


@pytest.mark.parametrize("name", TRAINABLE)
def test_lowers_its_own_loss_and_leaves_the_teacher_alone(name: str) -> None:
    theirs = teacher()
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    student, batch = student_of(name), make_batch(theirs)
    method = prepared(built(name), student, theirs)
    objective = Objective(method, 0.2, 30.0)
    optimizer = torch.optim.Adam([*student.parameters(), *method.parameters()], lr=0.01)
    own = []
    for _ in range(30):
        torch.manual_seed(11)  # views that are drawn are the same in each step
        _, terms = objective(student, batch)
        loss = torch.stack([term for term_name, term in terms.items() if term_name != "aam"]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        own.append(loss.item())
    assert own[-1] < 0.9 * own[0] and own[0] > 0
    assert all(torch.equal(value, before[key]) for key, value in theirs.state_dict().items())


def weights_zero(name: str) -> Method:
    """The method with every factor of a term at 0."""
    _, config = METHODS[name]
    factors = [f.name for f in dataclasses.fields(config) if f.name.startswith("weight")]
    main = ["weight"] if "weight" in factors else factors
    overrides = [f"{factor}=0" for factor in main]
    return built(name, *overrides, *(["mixture=0"] if name == "interkd" else []))


@pytest.mark.parametrize("name", TRAINABLE)
def test_without_weights_it_is_none_with_as_many_views(name: str) -> None:
    theirs = teacher()
    grown = {}
    for key, method in (("none", build_method("none")), (name, weights_zero(name))):
        student = student_of(name)
        if name in LABELLED_TWICE and key == "none":
            method = TwoViews(method)
        if name in SILENT and key == "none":
            method = SilentView(weights_zero(name))
        method = prepared(method, student, theirs)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        for step in range(3):
            torch.manual_seed(step)
            loss, _ = Objective(method, 0.2, 30.0)(student, make_batch(theirs))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        grown[key] = student.state_dict()
    for key, value in grown["none"].items():
        assert torch.equal(value, grown[name][key]), key


class SilentView(Method):
    """No terms, but the views of another method: what shares the batch statistics."""

    def __init__(self, other: Method) -> None:
        super().__init__()
        self.views = other.views  # type: ignore[method-assign]

    def terms(self, batch: DistillationBatch, views: list[object]) -> dict[str, Tensor]:  # type: ignore[override]
        return {}


def test_adversarial_inputs_move_away_and_leave_statistics_alone() -> None:
    theirs = teacher()
    student, batch = network(8, 2, 6, seed=0).train(), make_batch(theirs)
    method = prepared(build_method("vickd", None, ["epsilon=0.1"]), student, theirs)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    views = method.views(batch, student)
    assert len(views) == 2 and student.training and method.training
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    step = (views[1] - views[0]).abs() / (0.1 * batch.features.std((1, 2), keepdim=True))
    torch.testing.assert_close(step, torch.ones_like(step), rtol=1e-4, atol=1e-4)
    _, terms = Objective(method, 0.2, 30.0)(student.eval(), batch)
    assert terms["invariance_adv"] > terms["invariance"]  # one step uphill


# Put together


def test_a_combination_is_the_sum_of_its_parts() -> None:
    theirs = teacher()
    student, batch = network(8, 2, 6, seed=0).eval(), make_batch(theirs)
    both = prepared(build_method("imlkd+emb-cos", None, ["emb_cos.weight=2", "imlkd.weight_batch=3"]), student, theirs)
    assert isinstance(both, Combined)
    _, found = Objective(both, 0.2, 30.0)(student, batch)
    alone = build_method("imlkd", None, ["weight_batch=3"])
    _, first = Objective(alone, 0.2, 30.0)(student, batch)
    second = prepared(build_method("emb-cos", None, ["weight=2"]), student, theirs)
    _, second_terms = Objective(second, 0.2, 30.0)(student, batch)
    assert list(found) == [*first, "embedding"]
    for name, value in (first | second_terms).items():
        torch.testing.assert_close(found[name], value)
    assert both.needs.relevance and both.needs.teacher_embedding and not both.needs.teacher_stages


def test_ig_match_beside_imlkd() -> None:
    theirs = teacher()
    student, batch = network(8, 2, 6, seed=0), make_batch(theirs)
    method = prepared(build_method("imlkd+ig-match"), student, theirs)
    loss, terms = Objective(method, 0.2, 30.0)(student, batch)
    loss.backward()
    assert {"instance_ii", "relevance"} <= terms.keys() and method.needs.input_gradient
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kd+imlkd", "kd+imlkd: kd and imlkd both align posteriors: take one of them"),
        ("sp+rkd", "sp+rkd: sp and rkd both align embedding relations: take one of them"),
        ("kd+kd", "method 'kd+kd' names a part twice: name it once"),
        ("kd+oskdft", "kd+oskdft: oskdft cannot be put together with other methods: take it alone"),
        ("kd+atx", "unknown method 'atx': did you mean at?"),
    ],
)
def test_combinations_refused(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_method(name)
    assert str(caught.value) == message


def test_two_views_are_the_mean_over_both() -> None:
    theirs = teacher()
    student, batch = network(8, 2, 6, seed=0).eval(), make_batch(theirs)
    method = TwoViews(build_method("kd"))
    torch.manual_seed(3)
    _, found = Objective(method, 0.2, 30.0)(student, batch)
    torch.manual_seed(3)
    second = method.views(batch, student)[1]
    each = []
    for features in (batch.features, second):
        _, terms = Objective(build_method("kd"), 0.2, 30.0)(student, dataclasses.replace(batch, features=features))
        each.append(terms)
    for name in ("aam", "instance"):
        torch.testing.assert_close(found[name], (each[0][name] + each[1][name]) / 2)


def test_two_views_of_a_method_with_two_views() -> None:
    theirs = teacher()
    student = network(8, 2, 6, seed=0)
    with pytest.raises(UserError, match="views: 2 is for methods of one view"):
        TwoViews(build_method("imlkd")).views(make_batch(theirs), student)
