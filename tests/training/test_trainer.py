"""The loop: it learns, by the schedules it was given, and says how it goes."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch

from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.training.config import CheckpointsConfig, LoaderConfig, MarginConfig, RateConfig
from imlkd.training.curve import Curve
from imlkd.training.pace import Pace
from imlkd.training.position import Plan, Position
from imlkd.training.trainer import prepare_torch
from tests.training.loops import CONFIG, Make, Projected, log, same, trainer

pytestmark = pytest.mark.usefixtures("leave_torch_as_it_was")


def test_it_learns(pool: Make, tmp_path: Path) -> None:
    made = pool()
    training = trainer(made, tmp_path, dataclasses.replace(CONFIG, epochs=12))
    training.run()
    entries = log(tmp_path)
    assert [entry["epoch"] for entry in entries] == list(range(1, 13))
    assert entries[-1]["aam"] < 0.3 * entries[0]["aam"] and entries[-1]["loss"] == entries[-1]["aam"]
    model = training.model.eval()
    unseen = pool(seed=0)
    every = [i for i, segment in enumerate(unseen.segments) if segment.frames == 40]
    chosen = torch.tensor(every).numpy()
    cosines = model(unseen.crops(chosen), torch.full((len(every),), 40)).cosines
    assert cosines is not None and (cosines.argmax(1) == unseen.classes(chosen)).all()


def test_the_projection_is_trained(pool: Make, tmp_path: Path) -> None:
    method = Projected()
    before = method.projection.weight.clone()
    trainer(pool(), tmp_path, method=method).run()
    assert not torch.allclose(method.projection.weight, before, atol=1e-3)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(pool: Make, tmp_path: Path, workers: int) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, loader=LoaderConfig(workers=workers))
    alone, helped = trainer(made, tmp_path / "alone"), trainer(made, tmp_path / "helped", config)
    alone.run(), helped.run()
    assert same(alone, helped) and log(tmp_path / "alone") == log(tmp_path / "helped")


@pytest.mark.parametrize("final", ["mean", "ema", "best"])
def test_averages_are_those_of_the_weights_along_the_way(pool: Make, tmp_path: Path, final: str) -> None:
    made = pool()
    kept = CheckpointsConfig(best=2)
    config = dataclasses.replace(CONFIG, final=final, mean_epochs=3, ema_decay=0.8, checkpoints=kept)
    training = trainer(made, tmp_path, config)
    steps: list[torch.Tensor] = []
    ends: list[torch.Tensor] = []
    after_step, after_epoch = training.averages.after_step, training.averages.after_epoch

    def stepped(model: torch.nn.Module) -> None:
        steps.append(training.model.segment[1].weight.detach().clone())
        after_step(model)

    def ended(model: torch.nn.Module, epoch: int) -> None:
        ends.append(training.model.segment[1].weight.detach().clone())
        after_epoch(model, epoch)

    training.averages.after_step, training.averages.after_epoch = stepped, ended  # type: ignore[method-assign]
    training.run()
    losses = [entry["loss"] for entry in log(tmp_path)]
    moving = steps[0]
    for weights in steps[1:]:
        moving = 0.8 * moving + 0.2 * weights
    best = sorted(range(6), key=lambda i: losses[i])[:2]
    means = {"mean": torch.stack(ends[3:]).mean(0), "best": torch.stack([ends[i] for i in best]).mean(0)}
    expected = means | {"ema": moving}
    torch.testing.assert_close(training.model.segment[1].weight.detach(), expected[final], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected[final], ends[-1], atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"rate": RateConfig("cyclic", cycles=2)},
        {"softmax": MarginConfig(begin=0.2, end=0.6, top_k=1, sub_centres=2)},
    ],
)
def test_it_learns_as_people_train(pool: Make, tmp_path: Path, change: dict[str, object]) -> None:
    training = trainer(pool(), tmp_path, dataclasses.replace(CONFIG, epochs=10, **change))  # type: ignore[arg-type]
    if "softmax" in change:
        training.objective.margin = 9.9  # the schedule's business
    training.run()
    entries = log(tmp_path)
    assert entries[-1]["aam"] < 0.5 * entries[0]["aam"]
    assert training.objective.margin == CONFIG.margin


def test_rate_ramp_and_clip_of_each_step(pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, warm_up=0.5, ramp=0.5, clip=0.01)
    training = trainer(made, tmp_path, config, Imlkd(ImlkdConfig()))
    ramps, rates, norms = [], [], []
    forward, step = training.objective.forward, training.optimizer.step

    def recorded(model: object, batch: object, ramp: float) -> object:
        ramps.append(ramp)
        return forward(model, batch, ramp)  # type: ignore[arg-type]

    def stepped() -> None:
        groups = training.optimizer.param_groups
        rates.append({group["lr"] for group in groups})
        grads = [p.grad.norm() for group in groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack(grads).norm()))
        step()

    monkeypatch.setattr(training.objective, "forward", recorded)
    monkeypatch.setattr(training.optimizer, "step", stepped)
    training.run()
    lengths = [len(made.epoch_batches(config.batch * 200, 1, config.seed, epoch)) for epoch in range(6)]
    shares = [(epoch + i / n) / 6 for epoch, n in enumerate(lengths) for i in range(n)]
    assert ramps == [min(share / 0.5, 1.0) for share in shares]
    peak = config.learning_rate
    expected = [max(2 * s, 1e-3) if s < 0.5 else 0.5 + 0.5 * math.cos(math.pi * (s - 0.5) / 0.5) for s in shares]
    assert [rate for (rate,) in map(tuple, rates)] == pytest.approx([peak * factor for factor in expected])
    assert max(norms) <= 0.01 * (1 + 1e-4)


def test_it_is_held_against_the_expected_curve(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs, said in ((CONFIG.epochs, True), (CONFIG.epochs + 1, False)):
        expected = Curve(tmp_path / "c.jsonl", [{"epoch": n + 1, "loss": 10.0 - n} for n in range(epochs)])
        training = trainer(pool(), tmp_path / str(epochs), expected=expected)
        training.run()
        out = capsys.readouterr().out
        assert ("(expected loss 8)" in out.splitlines()[3]) == said
        assert ("this training of 6: not drawn against it" in out) != said


def test_inside_a_long_epoch_it_says_where_it_is(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "speaks", lambda self: True)
    trainer(pool(), tmp_path, dataclasses.replace(CONFIG, epochs=1)).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if " step " in line]
    assert re.fullmatch(r"epoch 1/1 step 1/\d+ loss \S+ aam \S+ rate .* samples/s, loader .*%, 0:00:0\d left", lines[0])
    of = int(lines[0].split()[3].partition("/")[2])
    assert len(lines) == of - 1 and lines[-1].startswith(f"epoch 1/1 step {of - 1}/{of} ")


def test_it_trains_in_training_mode(pool: Make, tmp_path: Path) -> None:
    training = trainer(pool(), tmp_path)
    training.model.eval()
    training.run()
    state = training.model.state_dict()
    assert all(int(value) > 6 for name, value in state.items() if name.endswith("num_batches_tracked"))


def test_only_matrices_decay(pool: Make, tmp_path: Path) -> None:
    training = trainer(pool(), tmp_path, method=Projected())
    decayed, spared = training.optimizer.param_groups
    assert decayed["weight_decay"] == CONFIG.weight_decay and spared["weight_decay"] == 0.0
    names = {id(p): name for module in training.modules.values() for name, p in module.named_parameters()}
    listed = [names[id(p)] for group in (decayed, spared) for p in group["params"]]
    assert sorted(listed) == sorted(names.values()) and len(set(listed)) == len(listed)
    assert {names[id(p)] for p in decayed["params"]} == {
        "first.0.weight", "blocks.0.convolution.weight", "last.0.weight", "segment.1.weight", "head.weight",
        "method.projection.weight",
    }  # fmt: skip


def test_prepare_torch_gives_the_same_numbers() -> None:
    prepare_torch(1, 5)
    first = torch.randn(3)
    prepare_torch(0, 5)
    assert torch.equal(torch.randn(3), first)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1


def test_terms_are_compared_once_an_epoch_without_a_trace_in_the_weights(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    method = Imlkd(ImlkdConfig(weight_class=1e-9))
    watched = trainer(pool(), tmp_path / "watched", method=method)
    watched.run()
    entries = log(tmp_path / "watched")
    assert all({"gradient_aam", "gradient_instance_ii", "agreement", "teacher_posterior"} <= e.keys() for e in entries)
    assert entries[0]["gradient_aam"] > 0 and 0 < entries[0]["teacher_posterior"] < 1
    said = capsys.readouterr().out
    assert said.count("warning: class is dead: ") == said.count("warning: class_ii is dead: ") == 1
    monkeypatch.setattr("imlkd.distillation.objective.diagnose", lambda *_: {})
    quiet = trainer(pool(), tmp_path / "quiet", method=Imlkd(ImlkdConfig(weight_class=1e-9)))
    quiet.run()
    for (name, value), other in zip(watched.model.state_dict().items(), quiet.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_parts_of_a_batch_add_up_to_its_gradient(pool: Make, tmp_path: Path) -> None:
    """With batch norms in evaluation mode, whose statistics are those of each part otherwise."""
    made, found = pool(3, 6), []
    for count in (1, 3):
        config = dataclasses.replace(CONFIG, accumulate=count, clip=1e9, batch=4)
        training = trainer(made, tmp_path / str(count), config)
        training.model.eval()
        work = next(iter(Plan(made, config, Position(), training.processes)))
        terms = training.stepper.step(work, training.make_batch(work.chosen))
        found.append((terms["loss"], [p.grad.clone() for p in training.model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_touches_the_network_only(pool: Make, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=10, precision="bfloat16")
    training = trainer(pool(), tmp_path, config)
    kinds = []
    head, first = training.model.head, training.model.first[0]
    assert head is not None
    head.register_forward_hook(lambda module, inputs, output: kinds.append(("head", inputs[0].dtype, output.dtype)))
    first.register_forward_hook(lambda module, inputs, output: kinds.append(("first", torch.float32, output.dtype)))
    training.run()
    assert set(kinds) == {("head", torch.float32, torch.float32), ("first", torch.float32, torch.bfloat16)}
    assert all(value.dtype != torch.bfloat16 for value in training.model.state_dict().values())
    entries = log(tmp_path)
    assert entries[-1]["aam"] < 0.5 * entries[0]["aam"]
