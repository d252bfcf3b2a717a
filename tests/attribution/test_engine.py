"""The engine against captum on every network and quantity; lengths, rising nodes, policies, paths, bad input."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from captum.attr import IntegratedGradients as Captum
from torch import Tensor

from imlkd.attribution.baselines import constant
from imlkd.attribution.integrated_gradients import Attribution, IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.quantities import QUANTITIES, Target, quantity_of
from imlkd.attribution.rules import FIXED, PATTERSON, nodes_and_weights
from imlkd.errors import UserError
from imlkd.models.ensemble import Ensemble, joined_head
from imlkd.models.ge2e import Ge2e
from imlkd.models.self_supervised import SelfSupervised, SelfSupervisedConfig
from imlkd.models.speaker_model import CosineHead, SpeakerModel, SpeakerOutput
from tests.attribution.engine_models import BINS, MODELS, features_of, model_of

MAPS = IntegrationConfig(precision="float32", resolution="time-frequency")
CAPTUM = {"gauss-legendre": "gausslegendre", "midpoint": "riemann_middle"}


def fixed(rule: str, nodes: int) -> IntegrationConfig:
    return replace(MAPS, rule=rule, nodes=nodes, max_nodes=nodes, tolerance=10.0)


def target_of(model: SpeakerModel, quantity: str, seed: int = 5) -> Target:
    generator = torch.Generator().manual_seed(seed)
    if quantity == "enrolment":
        return torch.randn(model.embedding_dim, generator=generator, dtype=torch.float64)
    return 1


def by_captum(model: SpeakerModel, x: Tensor, target: Target, quantity: str, rule: str, nodes: int) -> Tensor:
    measured = quantity_of(quantity, 4.0)

    def function(points: Tensor) -> Tensor:
        output = model(points, torch.full((len(points),), points.shape[1]))
        one = torch.as_tensor(target)
        return measured(output, one.expand(len(points), *one.shape))

    baseline = x.mean(0, keepdim=True).expand_as(x)[None]
    return Captum(function).attribute(x[None], baseline, n_steps=nodes, method=CAPTUM[rule])[0]


@pytest.mark.parametrize("rule", CAPTUM)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", MODELS)
def test_the_maps_are_captums(name: str, quantity: str, rule: str) -> None:
    model = model_of(name)
    x = features_of(model, 165 if name == "ge2e" else 43)
    target = target_of(model, quantity)
    expected = by_captum(model, x, target, quantity, rule, 3)
    engine = IntegratedGradients(model, fixed(rule, 3), quantity_of(quantity, 4.0))
    (found,) = engine.explain([Utterance("u", x, target)])
    assert found.map.dtype == torch.float64
    assert (found.map - expected).abs().max() <= 1e-6 * expected.abs().max()
    by_frame = replace(fixed(rule, 3), resolution="frame")
    (frames,) = IntegratedGradients(model, by_frame, quantity_of(quantity, 4.0)).explain([Utterance("u", x, target)])
    torch.testing.assert_close(frames.map, found.map.sum(1))


@pytest.mark.parametrize("rule", CAPTUM)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", ["ensemble", "self-supervised"])
def test_the_maps_of_teachers_that_are_no_network_of_students(name: str, quantity: str, rule: str) -> None:
    """Several averaged, whose features hold how many frames each has; and one that hears samples."""
    model = joined() if name == "ensemble" else on_samples()
    x = features_of(model, 43)
    if name == "ensemble":
        x[:, -2:] = 43
    else:
        x = (x - 5) / 20
    target = target_of(model, quantity)
    expected = by_captum(model, x, target, quantity, rule, 3)
    engine = IntegratedGradients(model, fixed(rule, 3), quantity_of(quantity, 4.0))
    (found,) = engine.explain([Utterance("u", x, target)])
    assert expected.abs().max() > 0 and (found.map - expected).abs().max() <= 1e-6 * expected.abs().max()


def joined() -> SpeakerModel:
    members = [copy.deepcopy(model_of(name)) for name in ("tdnn", "xvector")]
    model = Ensemble(members)
    model.head = joined_head([member.head for member in members if member.head is not None])
    return model.double().eval().requires_grad_(False)


def on_samples() -> SpeakerModel:
    torch.manual_seed(0)
    convolutions = [[8, 10], *[[8, 3]] * 4, *[[8, 2]] * 2]
    model = SelfSupervised(SelfSupervisedConfig(convolutions, False, False, 16, 2, 2, 24, 8, 4, 20))
    model.head = CosineHead(model.embedding_dim, ["a", "b", "c"])
    return model.double().eval().requires_grad_(False)


def test_captums_trapezoid_weights_do_not_sum_to_one() -> None:
    """On F = 3 sum(x) the map is 3 (x - x') exactly: ours says so, captum's trapezoid is short by 1/n."""
    x = features_of(model_of("tdnn"), 30)
    short = Captum(lambda p: 3 * p.sum((1, 2))).attribute(x[None], 0 * x[None], n_steps=8, method="riemann_trapezoid")
    torch.testing.assert_close(short[0], 3 * x * (1 - 1 / 8))
    for rule in FIXED:
        assert nodes_and_weights(rule, 7 if rule == PATTERSON else 8)[1].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_unlike_lengths_equals_one_by_one(name: str) -> None:
    model = model_of(name)
    lengths = [161, 240] if name == "ge2e" else [61, 20, 43, 44]
    config = replace(MAPS, nodes=2, max_nodes=4, tolerance=1e-9, policy="keep", fold=False)
    utterances = [Utterance(f"u{i}", features_of(model, n, seed=i), i % 3) for i, n in enumerate(lengths)]
    together = list(IntegratedGradients(model, replace(config, rows=7)).explain(utterances))
    assert [found.name for found in together] == [one.name for one in utterances]
    for utterance, found in zip(utterances, together, strict=True):
        (alone,) = IntegratedGradients(model, config).explain([utterance])
        assert found.map.shape == utterance.features.shape
        torch.testing.assert_close(found.map, alone.map, rtol=1e-9, atol=1e-12)
        assert found.error == pytest.approx(alone.error, rel=1e-6, abs=1e-10)


def counted(model: SpeakerModel) -> tuple[list[int], Callable[[], None]]:
    """Rows of every call that a gradient is taken of."""
    rows: list[int] = []
    handle = model.register_forward_hook(
        lambda _, inputs, __: rows.append(len(inputs[0])) if inputs[0].requires_grad else None
    )
    return rows, handle.remove


def test_nodes_rise_for_those_that_need_it_and_nothing_is_computed_twice() -> None:
    model = model_of("tdnn")
    utterances = [Utterance(str(i), features_of(model, 40 + i, seed=i), i % 3) for i in range(12)]
    errors = [found.error for found in IntegratedGradients(model, fixed("clenshaw-curtis", 2)).explain(utterances)]
    tolerance = sum(sorted(errors)[5:7]) / 2  # half of them need more than the first rule
    config = replace(MAPS, rule="clenshaw-curtis", nodes=2, max_nodes=64, tolerance=tolerance, fold=False)
    engine = IntegratedGradients(model, config)
    rows, stop = counted(model)
    found = list(engine.explain(utterances))
    stop()
    assert all(one.converged and one.error <= tolerance for one in found)
    assert {one.nodes for one, error in zip(found, errors, strict=True) if error <= tolerance} == {3}
    assert all(one.nodes > 3 for one, error in zip(found, errors, strict=True) if error > tolerance)
    assert sum(rows) == sum(one.nodes for one in found) + 1  # and one row to measure its memory
    assert all(one.gradients == one.nodes for one in found)
    for one, utterance in zip(found, utterances, strict=True):
        (again,) = IntegratedGradients(model, fixed("clenshaw-curtis", one.nodes - 1)).explain([utterance])
        torch.testing.assert_close(one.map, again.map, rtol=1e-9, atol=1e-12)


def test_a_rule_that_does_not_nest_begins_anew() -> None:
    model, x = model_of("tdnn"), features_of(model_of("tdnn"), 40)
    config = replace(MAPS, rule="gauss-legendre", nodes=2, max_nodes=8, tolerance=1e-9)
    (found,) = IntegratedGradients(model, config).explain([Utterance("u", x, 0)])
    (fine,) = IntegratedGradients(model, fixed("gauss-legendre", 8)).explain([Utterance("u", x, 0)])
    torch.testing.assert_close(found.map, fine.map)
    assert (found.nodes, found.gradients, fine.gradients) == (8, 14, 8)


def test_what_fails_at_the_cap_is_listed_and_stops_over_a_share() -> None:
    model = model_of("tdnn")
    utterances = [Utterance(f"u{i}", features_of(model, 40, seed=i), 0) for i in range(4)]
    for policy in ("keep", "exclude"):
        engine = IntegratedGradients(model, replace(MAPS, nodes=2, max_nodes=2, tolerance=1e-8, policy=policy))
        found = list(engine.explain(utterances))
        assert not any(one.converged for one in found) and {one.kept for one in found} == {policy == "keep"}
        assert engine.convergence.failing == ["u0", "u1", "u2", "u3"]
        assert f"4 of 4 (100.0%) over 0% and {'kept' if policy == 'keep' else 'excluded'}" in engine.convergence.line()
        with pytest.raises(UserError, match=r"4 of 4 utterances are over .* more than 1% \(first: u0 u1 u2 u3\)"):
            engine.convergence.check()
    lenient = IntegratedGradients(model, replace(MAPS, nodes=2, max_nodes=2, tolerance=1e-8, max_failing=1.0))
    list(lenient.explain(utterances))
    lenient.convergence.check()


@pytest.mark.parametrize(("name", "nodes", "error"), [("tdnn", 400, 0.01), ("ge2e", 12, 1.0)])
def test_the_path_in_power_is_its_definition_and_completes(name: str, nodes: int, error: float) -> None:
    model = model_of(name)
    x = features_of(model, 165 if name == "ge2e" else 40)
    config = replace(MAPS, path="power", rule="midpoint", nodes=nodes, max_nodes=nodes)
    (found,) = IntegratedGradients(model, replace(config, power=2.0)).explain([Utterance("u", x, 0)])
    assert found.error < error
    power, base = x.exp(), x.mean(0).exp().expand_as(x)
    total, edges = torch.zeros_like(x), torch.linspace(0, 1, nodes + 1, dtype=torch.float64)
    for k in range(nodes):
        alpha = ((edges[k] + edges[k + 1]) / 2) ** 2
        at = (base + alpha * (power - base)).requires_grad_()
        cosine = model(at.log()[None], torch.tensor([len(x)])).cosines[0, 0]
        total += (edges[k + 1] ** 2 - edges[k] ** 2) * torch.autograd.grad(cosine, at)[0]
    torch.testing.assert_close(found.map, (power - base) * total, rtol=1e-6, atol=1e-9)


def test_the_path_in_power_survives_loud_beside_silent_bins() -> None:
    """In float32, where ``z' + (z - z')`` would be no longer positive."""
    model = model_of("tdnn")
    x = torch.linspace(-30, 25, 40 * BINS).reshape(40, BINS)[torch.randperm(40)]
    (found,) = IntegratedGradients(_copy_in_float32(model), replace(MAPS, path="power")).explain([Utterance("u", x, 0)])
    assert torch.isfinite(found.map).all()


def _copy_in_float32(model: SpeakerModel) -> SpeakerModel:
    return copy.deepcopy(model).float()


class Broken(SpeakerModel):
    """Embeds by a weight that runs out of memory above a number of rows."""

    def __init__(self, model: SpeakerModel, fits: int, message: str) -> None:
        super().__init__(model.frontend, model.embedding_dim)
        self.inner, self.fits, self.message, self.calls = model, fits, message, 0
        self.head = model.head

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        if features.requires_grad and len(features) > self.fits:
            self.calls += 1
            raise RuntimeError(self.message)
        return self.inner.encode(features, lengths)


def test_out_of_memory_halves_the_chunk_and_goes_on() -> None:
    model = model_of("tdnn")
    utterances = [Utterance(str(i), features_of(model, 40, seed=i), 0) for i in range(3)]
    config = replace(MAPS, nodes=8, max_nodes=8, tolerance=10.0, fold=False, rows=16)
    expected = list(IntegratedGradients(model, config).explain(utterances))
    broken = Broken(model, 3, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
    engine = IntegratedGradients(broken, config)
    found = list(engine.explain(utterances))
    assert broken.calls == 3 and engine.rows == 2  # 16, 8, 4, then 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.map, other.map)
    with pytest.raises(RuntimeError, match="something else"):
        list(IntegratedGradients(Broken(model, 3, "something else"), config).explain(utterances))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "nobody"}, "u1: the teacher knows no class nobody: its head holds 3 speakers"),
        ({"target": 3}, "u1: the teacher knows no class 3: its head holds 3 speakers"),
        ({"features": torch.full((40, BINS), torch.nan)}, "u1: its features hold NaN or infinite values"),
        (
            {"features": torch.zeros(40, BINS + 1)},
            r"u1: features of shape \(40, 13\): the teacher takes \(frames, 12\)",
        ),
        ({"baseline": torch.zeros(39, BINS)}, r"u1: baseline of shape \(39, 12\) for features of shape \(40, 12\)"),
        ({"baseline": torch.full((40, BINS), torch.inf)}, "u1: its baseline holds NaN or infinite values"),
        ({"features": torch.zeros(9, BINS)}, "u1: 9 frames, but the teacher's receptive field needs 13"),
    ],
)
def test_what_cannot_be_explained_is_named(change: dict[str, object], said: str) -> None:
    model = model_of("tdnn")
    good = Utterance("u0", features_of(model, 40), "b")
    with pytest.raises(UserError, match=said):
        list(IntegratedGradients(model, MAPS).explain([good, replace(good, name="u1", **change)]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tolerance": 0.0}, "tolerance 0: no sum is exact"),
        ({"nodes": 8, "max_nodes": 4}, "nodes 8 exceed max_nodes 4"),
        ({"nodes": 7, "rule": "clenshaw-curtis"}, "nodes 7: the rule clenshaw-curtis needs an even number"),
        ({"nodes": 8, "rule": "gauss-patterson"}, "nodes 8: the rule gauss-patterson has 1, 3, 7, 15, 31, 63"),
        ({"memory": "much"}, "memory 'much': expected a size such as 500M or 2G"),
        ({"path": "curved"}, "path 'curved': expected one of"),
    ],
)
def test_settings_that_cannot_work(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        IntegratedGradients(model_of("tdnn"), replace(MAPS, **change))  # type: ignore[arg-type]


def test_a_budget_too_small_says_how_much_is_needed() -> None:
    model = model_of("tdnn")
    utterance = Utterance("u", features_of(model, 400), 0)
    with pytest.raises(UserError, match=r"memory 20K is too small for an utterance of 400 frames: .* needs") as caught:
        list(IntegratedGradients(model, replace(MAPS, memory="20K")).explain([utterance]))
    needed = str(caught.value).split("needs ")[1].split(":")[0]
    engine = IntegratedGradients(model, replace(MAPS, memory=needed))
    (found,) = engine.explain([utterance])
    (free,) = IntegratedGradients(model, MAPS).explain([utterance])
    torch.testing.assert_close(found.map, free.map)


def test_a_teacher_without_a_head_explains_enrolments_only() -> None:
    model = _copy_in_float32(model_of("tdnn"))
    model.head = None
    x = features_of(model, 40).float()
    with pytest.raises(UserError, match="u: the teacher has no speaker head"):
        list(IntegratedGradients(model, MAPS).explain([Utterance("u", x, 0)]))
    cosine = quantity_of("enrolment", 1.0)
    (found,) = IntegratedGradients(model, MAPS, cosine).explain([Utterance("u", x, torch.ones(6))])
    assert found.converged
    with pytest.raises(UserError, match=r"u: enrolment \(5,\): expected an embedding of 6 values"):
        list(IntegratedGradients(model, MAPS, cosine).explain([Utterance("u", x, torch.ones(5))]))
    with pytest.raises(UserError, match="u: its enrolment embedding is zero"):
        list(IntegratedGradients(model, MAPS, cosine).explain([Utterance("u", x, torch.zeros(6))]))


def test_padding_of_a_front_end_carries_nothing() -> None:
    """GE2E pads short audio: those frames are the same in input and baseline."""
    torch.manual_seed(0)
    model = Ge2e()
    model.head = CosineHead(256, ["a", "b"])
    x = model.frontend(0.1 * torch.randn(16000))
    (found,) = IntegratedGradients(model.eval(), MAPS).explain([Utterance("u", x, "b", frames=100)])
    assert not found.map[100:].any() and found.map[:100].any()


def test_other_baselines() -> None:
    model = model_of("tdnn")
    x = features_of(model, 40)
    frame = torch.linspace(0, 5, BINS)
    (own,) = IntegratedGradients(model, MAPS, baseline=constant(frame)).explain([Utterance("u", x, 0)])
    given = Utterance("u", x, 0, baseline=frame.double().expand_as(x))
    (same,) = IntegratedGradients(model, MAPS).explain([given])
    torch.testing.assert_close(own.map, same.map)


def test_memory_is_a_stream() -> None:
    """No more utterances are read than a window holds before results come out."""
    model, read = model_of("tdnn"), []

    def stream() -> object:
        for i in range(100):
            read.append(i)
            yield Utterance(str(i), features_of(model, 30, seed=i), 0)

    results = IntegratedGradients(model, replace(MAPS, rows=4)).explain(stream())  # type: ignore[arg-type]
    first = next(results)
    assert isinstance(first, Attribution) and len(read) == 4
    assert sum(1 for _ in results) == 99
