"""The loop: it learns, resumes to the bit, and says what goes wrong."""

import dataclasses
import json
import math
import os
import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.distillation.objective import Objective
from imlkd.errors import Preempted, UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.checkpoint import CheckpointStore
from imlkd.training.config import CheckpointsConfig, LoaderConfig, MarginConfig, RateConfig, TrainingConfig
from imlkd.training.curve import Curve
from imlkd.training.identity import Identity, settings_of
from imlkd.training.loader import Loader
from imlkd.training.pace import Pace
from imlkd.training.position import Plan, Position
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.trainer import Trainer, prepare_torch

Make = Callable[..., SegmentPool]
CONFIG = TrainingConfig(epochs=6, batch=2, learning_rate=0.01, threads=1, seed=3)


class Projected(Imlkd):
    """A method with a trainable projection, whose terms need its own state and random numbers."""

    def __init__(self) -> None:
        super().__init__(ImlkdConfig())
        self.projection = torch.nn.Linear(3, 3)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, torch.Tensor]:
        projected = [self.projection(torch.dropout(view.logits, 0.1, True)) for view in views]
        return super().terms(
            batch, [dataclasses.replace(view, logits=new) for view, new in zip(views, projected, strict=True)]
        )


class Interrupted(Exception):
    pass


def trainer(
    pool: SegmentPool,
    folder: Path,
    config: TrainingConfig = CONFIG,
    method: Method | None = None,
    made_from: str = "x",
    die_at: int | None = None,
    expected: Curve | None = None,
) -> Trainer:
    """``die_at``: the number of the step that is not made any more."""
    prepare_torch(config.threads, config.seed)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(6, ["s0", "s1", "s2"])
    model.normalization.bin_mean.copy_(pool.frames.mean(0))
    steps = 0

    def batch(chosen: Indices) -> DistillationBatch:
        nonlocal steps
        if steps == die_at:
            raise Interrupted
        steps += 1
        crops, labels = pool.crops(chosen), pool.classes(chosen)
        logits = 5 * torch.nn.functional.one_hot(labels, 3).float()
        return DistillationBatch(crops, labels, logits, 0.5 + 0.5 * torch.rand(crops.shape[:2]), logits)

    objective = Objective(method or NoTeacher(NoTeacherConfig()), config.margin, config.scale)
    identity = Identity({"data": made_from}, settings_of(config, "training."))
    return Trainer(config, model, objective, pool, batch, folder, identity, folder / "progress", expected)


def log(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log/train.jsonl").read_text().splitlines()
    timed = ("seconds", "samples_per_second", "loader_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> object:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    torch.set_rng_state(before[2])


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


@pytest.mark.parametrize("method", [NoTeacher(NoTeacherConfig()), Projected()])
@pytest.mark.parametrize("die_at", [0, 1, 7, 11])
def test_interrupted_and_resumed_it_is_the_same_to_the_bit(
    pool: Make, tmp_path: Path, method: Method, die_at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    start = {name: value.clone() for name, value in method.state_dict().items()}

    def run(folder: Path, die_at: int | None = None) -> Trainer:
        method.load_state_dict(start)
        training = trainer(made, folder, method=method, die_at=die_at)
        if die_at is None:
            training.run()
        else:
            with pytest.raises(Interrupted):
                training.run()
        return training

    whole = run(tmp_path / "whole")
    expected = {name: value.clone() for name, value in whole.model.state_dict().items()}
    projection = {name: value.clone() for name, value in method.state_dict().items()}
    run(tmp_path / "torn", die_at)
    capsys.readouterr()
    resumed = run(tmp_path / "torn")
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("starting from scratch" if die_at < 2 else "going on after epoch")
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())
    assert all(torch.equal(value, projection[name]) for name, value in method.state_dict().items())
    assert log(tmp_path / "torn") == log(tmp_path / "whole")


def test_the_projection_is_trained(pool: Make, tmp_path: Path) -> None:
    method = Projected()
    before = method.projection.weight.clone()
    trainer(pool(), tmp_path, method=method).run()
    assert not torch.allclose(method.projection.weight, before, atol=1e-3)


def test_finished_it_only_looks(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    first = trainer(made, tmp_path)
    seconds = first.run()
    again = trainer(made, tmp_path, die_at=0)
    assert again.run() == seconds > 0
    assert "going on after epoch 6" in capsys.readouterr().out
    state = first.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())


def test_a_checkpoint_of_something_else_is_not_used(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    trainer(made, tmp_path, made_from="another").run()
    capsys.readouterr()
    found = trainer(made, tmp_path, made_from="x")
    found.run()
    assert "belongs to another configuration or other data: starting from scratch" in capsys.readouterr().out
    alone = trainer(made, tmp_path / "alone")
    alone.run()
    expected = alone.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    assert log(tmp_path) == log(tmp_path / "alone")


def same(a: Trainer, b: Trainer) -> bool:
    other = b.model.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.model.state_dict().items())


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pool()
    whole = trainer(made, tmp_path / "whole")
    whole.run()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path / "torn", die_at=7).run()
    newest = CheckpointStore(tmp_path / "torn", 2).paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    capsys.readouterr()
    resumed = trainer(made, tmp_path / "torn")
    resumed.run()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"warning: {newest} is damaged: taking the one before" and "going on after epoch 2" in said[1]
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


def test_a_changed_setting_is_named(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    trainer(made, tmp_path).run()
    for change, words in (
        ({"learning_rate": 0.02}, "starting from scratch (training.learning_rate 0.01 -> 0.02)"),
        ({"learning_rate": 0.02, "loader": LoaderConfig(prefetch=9)}, "loader.prefetch 4 -> 9: without effect"),
        ({"learning_rate": 0.02, "threads": 0}, "training.threads 1 -> 0: no longer the same to the bit"),
    ):
        capsys.readouterr()
        trainer(made, tmp_path, dataclasses.replace(CONFIG, **change)).run()  # type: ignore[arg-type]
        assert words in capsys.readouterr().out.splitlines()[0]


def test_checkpoints_inside_an_epoch(pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, crops=4, checkpoints=CheckpointsConfig(steps=4))
    whole = trainer(made, tmp_path / "whole", config, Projected())
    start = {name: value.clone() for name, value in whole.objective.state_dict().items()}
    whole.run()
    with pytest.raises(Interrupted):
        method = Projected()
        method.load_state_dict({name.removeprefix("method."): value for name, value in start.items()})
        trainer(made, tmp_path / "torn", config, method, die_at=8).run()
    capsys.readouterr()
    resumed = trainer(made, tmp_path / "torn", config, Projected())
    resumed.run()
    assert "going on after step " in capsys.readouterr().out.splitlines()[0]
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_asked_to_leave_it_saves_and_goes_on_there(pool: Make, tmp_path: Path, number: signal.Signals) -> None:
    made = pool()
    config = dataclasses.replace(CONFIG, crops=4)
    whole = trainer(made, tmp_path / "whole", config)
    whole.run()
    training = trainer(made, tmp_path / "torn", config)
    make, steps = training.make_batch, []

    def asked(chosen: Indices) -> DistillationBatch:
        steps.append(1)
        if len(steps) == 5:
            os.kill(os.getpid(), number)
        return make(chosen)

    training.make_batch = asked
    before = signal.getsignal(number)
    with pytest.raises(Preempted, match=f"{number.name}: saved after step 5: the same command goes on there"):
        training.run()
    assert signal.getsignal(number) == before
    resumed = trainer(made, tmp_path / "torn", config)
    resumed.run()
    assert same(resumed, whole) and log(tmp_path / "torn") == log(tmp_path / "whole")


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


@pytest.mark.parametrize("half", ['{"epoch": 3, "lo', '{"epoch": "x"}\n', "[]\n", "{}\n"])
def test_a_log_that_was_torn_is_mended(pool: Make, tmp_path: Path, half: str) -> None:
    made = pool()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path, die_at=7).run()
    with open(tmp_path / "log/train.jsonl", "a") as stream:
        stream.write(half)
    trainer(made, tmp_path).run()
    assert [entry["epoch"] for entry in log(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_loss_that_is_not_finite_stops_at_once(pool: Make, tmp_path: Path) -> None:
    made = pool()
    made.frames[made.offsets["s1-u1"] : made.offsets["s1-u2"]] = float("nan")
    with pytest.raises(UserError) as caught:
        trainer(made, tmp_path).run()
    message = str(caught.value)
    assert message.startswith("loss is not finite (aam) on a batch with s") and message.endswith(
        ": lower learning_rate"
    )
    assert "-00" in message and CheckpointStore(tmp_path, 2).paths() == []


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(
    pool: Make,
    tmp_path: Path,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = pool()
    with pytest.raises(Interrupted):
        trainer(made, tmp_path, die_at=7).run()
    kept = CheckpointStore(tmp_path, 2).paths()
    before, lines = [path.read_bytes() for path in kept], (tmp_path / "log/train.jsonl").stat().st_size
    limits = ((0, "train.jsonl"), (lines + 20, "train.jsonl"), (len(before[-1]) // 2, r"\d{9}.*\.pt"))
    for limit, name in limits:  # rewriting the log, adding a line to it, the next checkpoint
        with file_size_limit(limit), pytest.raises(UserError, match=f"{name}: the file-size limit is reached"):
            trainer(made, tmp_path).run()
        assert [path.read_bytes() for path in CheckpointStore(tmp_path, 2).paths()] == before
    trainer(made, tmp_path).run()
    assert [entry["epoch"] for entry in log(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


def test_a_batch_that_is_not_finite_is_left_out_and_noted(
    pool: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=2)
    training = trainer(pool(), tmp_path, config)
    make, steps = training.make_batch, []

    def ill(chosen: Indices) -> DistillationBatch:
        batch = make(chosen)
        steps.append(1)
        if len(steps) in (2, 4):
            batch.features[0, 0, 0] = float("nan")
        return batch

    training.make_batch = ill
    training.run()
    entries = [json.loads(line) for line in (tmp_path / "log/trouble.jsonl").read_text().splitlines()]
    assert [entry["terms"] for entry in entries] == [{"loss": "nan", "aam": "nan"}] * 2
    assert all(len(entry["segments"]) >= 2 for entry in entries)
    assert "step left out (2 of 2)" in capsys.readouterr().out
    assert all(value.isfinite().all() for value in training.model.state_dict().values()), "statistics have seen it"
    assert all(math.isfinite(entry["loss"]) for entry in log(tmp_path))


def test_a_device_without_room_names_the_batch_and_the_key(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(pool(), tmp_path)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.objective, "forward", full)
    with pytest.raises(UserError, match=r"out of memory on a batch of \d+ segments of \d+ frames .*training.batch"):
        training.run()


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


def test_the_largest_batch_is_tried_first_and_leaves_no_trace(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pool(durations=(10, 20, 60), frames=60)
    training = trainer(made, tmp_path / "a", method=Projected())
    plan = Plan(made, CONFIG, Position(), training.processes)
    loader = Loader(plan, training.make_batch, CONFIG.loader)
    largest = plan.largest()
    frames = [len(batch) * made.segments[batch[0]].frames for batch in plan.epoch(0)]
    assert len(largest.chosen) * made.segments[largest.chosen[0]].frames == max(frames) > min(frames)
    state = {name: value.clone() for name, value in training.stepper.loss.state_dict().items()}
    numbers = torch.get_rng_state()
    training.rehearse(plan, loader)
    assert all(torch.equal(value, state[name]) for name, value in training.stepper.loss.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers) and not training.optimizer.state
    assert all(parameter.grad is None for parameter in training.stepper.parameters)

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(training.stepper, "_gradient", full)
    said = rf"batch of {len(largest.chosen)} .* frames \(first: {made.segments[largest.chosen[0]].id}\): lower"
    with pytest.raises(UserError, match=said):
        training.rehearse(plan, loader)


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
