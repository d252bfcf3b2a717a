"""Folding is exact, bf16 keeps its noise out of the sums, memory sizes are read and written."""

import copy

import pytest
import torch

from imlkd.attribution.folding import EXACT, folded
from imlkd.attribution.gradients import FASTER, Agreement, TeacherFunction, has_compiler, matrix_rate
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.memory import format_memory, free_memory, is_out_of_memory, parse_memory, rows_within
from imlkd.attribution.quantities import TargetCosine
from imlkd.errors import UserError
from tests.attribution.engine_models import MODELS, features_of, model_of

NORMS = {"tdnn": 7, "ecapa": 1, "ge2e": 0}  # batch norms folded; in ECAPA a ReLU stands between all others


@pytest.mark.parametrize("name", MODELS)
def test_a_folded_teacher_says_the_same(name: str) -> None:
    model = copy.deepcopy(model_of(name)).float()
    before = copy.deepcopy(model.state_dict())
    light, count = folded(model)
    assert count == NORMS.get(name, count)
    features = torch.stack([features_of(model, 170, seed=i) for i in range(3)]).float()
    lengths = torch.tensor([170, 161, 165])
    expected, found = (one(features, lengths) for one in (model, light))
    assert ((expected.embedding - found.embedding).norm(dim=1) < EXACT * expected.embedding.norm(dim=1)).all()
    torch.testing.assert_close(expected.cosines, found.cosines, rtol=1e-5, atol=1e-5)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_networks_whose_norms_follow_convolutions_lose_them() -> None:
    assert all(folded(model_of(name))[1] > 0 for name in ("tdnn", "resnet", "campplus", "redimnet", "nexttdnn"))


def test_a_fold_that_is_not_exact_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imlkd.attribution.folding._affine", lambda norm: (norm.running_var + 1, norm.running_mean))
    light, count = folded(model_of("tdnn"))
    x = features_of(model_of("tdnn"), 50)[None]
    assert count == 0
    expected, found = (one(x, torch.tensor([50])).embedding for one in (model_of("tdnn"), light))
    assert torch.equal(expected, found)


def test_bf16_keeps_residuals_statistics_and_last_layers_in_fp32() -> None:
    model = copy.deepcopy(model_of("tdnn")).float()
    function = TeacherFunction(model, TargetCosine())
    x = torch.stack([features_of(model, 100, seed=i) for i in range(4)]).float()
    rows = (torch.full((4,), 100), torch.tensor([0, 1, 2, 0]))
    seen = {}
    half = function._half_model()
    for name, module in half.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, i, o, n=name: seen.update({n: (i[0].dtype, o.dtype)}))
    with torch.autocast("cpu", torch.bfloat16):
        output = half(x, rows[0])
    assert {seen[n][1] for n in ("first.0", "blocks.0.convolution", "last.0")} == {torch.bfloat16}
    assert all(stage.dtype == torch.float32 for stage in output.stages)
    assert output.pooled.dtype == output.embedding.dtype == output.cosines.dtype == torch.float32
    full, noisy = (function.gradient(x.clone(), *rows, half=h)[1].flatten() for h in (False, True))
    assert not torch.equal(full, noisy)
    assert torch.corrcoef(torch.stack([full, noisy]))[0, 1] > 0.99


def test_what_bf16_leaves_open_is_decided_in_fp32() -> None:
    """At a tolerance near bf16's noise: what fails in bf16 comes out as in fp32, and counts the gradients of both."""
    model = copy.deepcopy(model_of("tdnn")).float()
    utterances = [Utterance(str(i), features_of(model, 60, seed=i).float(), i % 3) for i in range(5)]
    config = IntegrationConfig(tolerance=2e-3, max_nodes=128, resolution="time-frequency", precision="float32")
    full = list(IntegratedGradients(model, config).explain(utterances))
    half = list(
        IntegratedGradients(model, IntegrationConfig(**vars(config) | {"precision": "bfloat16"})).explain(utterances)
    )
    assert all(two.converged for one, two in zip(full, half, strict=True) if one.converged)
    assert any(two.gradients > two.nodes for two in half)
    for one, two in zip(full, half, strict=True):
        if two.gradients > two.nodes:
            torch.testing.assert_close(one.map, two.map)
            assert two.error == pytest.approx(one.error, rel=1e-3)


def test_bf16_is_taken_only_where_it_pays() -> None:
    assert Agreement(0.9, 0.5, wanted=True).taken and not Agreement(0.9, 0.5).taken
    assert Agreement(0.9999, 1.5).pays and not Agreement(0.9999, FASTER - 0.01).pays and not Agreement(0.99, 3).pays
    model = copy.deepcopy(model_of("tdnn")).float()
    engine = IntegratedGradients(model)
    (found,) = engine.explain([Utterance("u", features_of(model, 60).float(), 0)])
    assert engine.agreement is not None and engine.agreement.correlation > 0.9
    assert ("taken" in str(engine.agreement)) and found.converged
    double = IntegratedGradients(model_of("tdnn"))
    list(double.explain([Utterance("u", features_of(model, 60), 0)]))
    assert double.agreement is None


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
def test_a_compiled_gradient_is_the_same() -> None:
    model = copy.deepcopy(model_of("tdnn")).float()
    x, rows = features_of(model, 60).float()[None].repeat(4, 1, 1), (torch.full((4,), 60), torch.tensor([0, 1, 2, 0]))
    plain, compiled = (TeacherFunction(model, TargetCosine(), compiled=c) for c in (False, True))
    compiled.compile_for(x.shape)
    found, expected = (one.gradient(x.clone(), *rows, half=False) for one in (compiled, plain))
    torch.testing.assert_close(found, expected)  # values and gradients


def test_without_a_compiler_the_engine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not has_compiler()
    model = model_of("tdnn")
    (found,) = IntegratedGradients(model, IntegrationConfig(compile=True)).explain(
        [Utterance("u", features_of(model, 60), 0)]
    )
    assert found.converged


def test_memory_sizes() -> None:
    assert parse_memory("2G") == 2 * 2**30 and parse_memory("1.5m") == 1.5 * 2**20 and parse_memory("100KiB") == 102400
    for text in ("", "-1G", "0", "2 bananas", "0.0M"):
        with pytest.raises(UserError, match="expected a size such as 500M or 2G"):
            parse_memory(text)
    for size in (1, 5000, 3 * 2**20 + 1, 5 * 2**30 + 7):
        assert size <= parse_memory(format_memory(size)) <= 1.1 * size + 1024
    assert 0 < free_memory(torch.device("cpu")) < 2**50
    assert rows_within(3000, 100, "x") == 20
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit")) and not is_out_of_memory(ValueError("out of memory"))


def test_the_matrix_rate_is_a_rate() -> None:
    assert matrix_rate(torch.float32, 64, 3) > 1e6
