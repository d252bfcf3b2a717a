"""Two processes (gloo) train what one does at the same global batch; a training goes on with another number of them."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.objective import Objective
from imlkd.errors import Preempted
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.batch_statistics import SharedBatchNorm, share_statistics
from imlkd.training.config import TrainingConfig
from imlkd.training.identity import Identity, settings_of
from imlkd.training.position import Plan, Position
from imlkd.training.processes import Processes
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.trainer import Trainer, prepare_torch

Make = Callable[..., SegmentPool]
CONFIG = TrainingConfig(epochs=2, batch=3, learning_rate=0.01, threads=1, seed=3)


def make_trainer(
    pool: SegmentPool, folder: Path, config: TrainingConfig, leave_at: int | None = None, signal: int = 10
) -> Trainer:
    """KD with labels: terms that are means over segments. ``leave_at``: the batch at which ``signal`` comes."""
    prepare_torch(config.threads, config.seed)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(6, ["s0", "s1", "s2"])
    made = 0

    def batch(chosen: Indices) -> DistillationBatch:
        nonlocal made
        made += 1
        if made == leave_at:
            os.kill(os.getpid(), signal)
        labels = pool.classes(chosen)
        return DistillationBatch(pool.crops(chosen), labels, 5 * torch.nn.functional.one_hot(labels, 3).float())

    objective = Objective(Kd(KdConfig()), config.margin, config.scale)
    return Trainer(config, model, objective, pool, batch, folder, Identity({}, settings_of(config, "training.")))


def run(
    pool: SegmentPool, folder: Path, config: TrainingConfig, leave_at: int | None = None, signal: int = 10
) -> Trainer:
    trainer = make_trainer(pool, folder, config, leave_at, signal)
    trainer.run()
    return trainer


def plan_of(pool: SegmentPool, config: TrainingConfig) -> Plan:
    return Plan(pool, config, Position(), Processes())


def together(folder: Path, work: Callable[[int], None], count: int = 2) -> list[int]:
    """Run ``work(rank)`` in forked processes of one gloo group; their exit states."""
    pids = []
    for rank in range(count):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        status = 1
        try:
            torch.set_num_threads(1)
            meeting = f"file://{folder}/meeting"
            torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=count)
            work(rank)
            status = 0
        except Preempted:
            status = 75
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    states = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    (folder / "meeting").unlink()
    return states


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log/train.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> object:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    torch.set_rng_state(before[2])


def test_loss_and_weights_of_two_processes_are_those_of_one(pool: Make, tmp_path: Path) -> None:
    made = pool(3, 7)
    alone = run(made, tmp_path / "alone", CONFIG)
    batches = made.epoch_batches(600, 1, CONFIG.seed, 0)
    assert any(len(batch) % 2 for batch in batches), "a batch that cannot be halved belongs to the test"

    def work(rank: int) -> None:
        trainer = run(made, tmp_path / "both", CONFIG)
        assert any(isinstance(module, SharedBatchNorm) for module in trainer.model.modules())
        torch.save(trainer.model.state_dict(), tmp_path / f"{rank}.pt")

    assert together(tmp_path, work) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert losses(tmp_path / "both") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    for name, value in alone.model.state_dict().items():
        assert torch.equal(first[name], second[name])
        if value.ndim > 1 or name.endswith("running_var"):  # biases before a norm have rounding for a gradient
            torch.testing.assert_close(first[name], value, rtol=1e-3, atol=3e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_gradient_goes_around_a_step(pool: Make, tmp_path: Path, accumulate: int) -> None:
    """DDP calls its hook once for each bucket that it sends."""
    config, steps = replace(CONFIG, statistics="own", accumulate=accumulate), len(list(plan_of(pool(3, 7), CONFIG)))

    def work(rank: int) -> None:
        sent = []

        def hook(state, bucket):  # DDP takes no annotations that are text
            sent.append(bucket.buffer().numel())
            return allreduce_hook(torch.distributed.group.WORLD, bucket)

        trainer = make_trainer(pool(3, 7), tmp_path / "both", config)
        assert isinstance(trainer.stepper.loss, DistributedDataParallel)
        trainer.stepper.loss.register_comm_hook(None, hook)
        trainer.run()
        trained = sum(p.numel() for p in [*trainer.model.parameters(), *trainer.objective.parameters()])
        assert sent == [trained] * steps

    assert together(tmp_path, work) == [0, 0]


def test_a_process_that_is_gone_is_no_error_of_the_others(
    pool: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine is lost: what is left leaves with 75, and the same command goes on."""
    monkeypatch.setattr("imlkd.training.processes.A_MOMENT", 0.0)
    config = replace(CONFIG, epochs=3, crops=3)
    batches = len(pool().epoch_batches(600, 3, CONFIG.seed, 0))

    def work(rank: int) -> None:
        run(pool(), tmp_path / "m", config, batches + 1 if rank else None, 9)

    assert together(tmp_path, work) == [75, -9]
    capfd.readouterr()
    assert together(tmp_path, lambda rank: run(pool(), tmp_path / "m", config) and None) == [0, 0]
    assert capfd.readouterr().out.splitlines()[0].startswith("going on after epoch 1 from ")


def test_more_processes_than_before_go_on_at_the_next_epoch(
    pool: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, crops=3, statistics="own")
    with pytest.raises(Preempted):
        run(pool(), tmp_path / "m", config, 1)
    capfd.readouterr()
    assert together(tmp_path, lambda rank: run(pool(), tmp_path / "m", config) and None) == [0, 0]
    said = capfd.readouterr().out
    assert "(1 processes before, 2 now: goes on at the next epoch, no longer the same to the bit)" in said
    assert [json.loads(line)["epoch"] for line in (tmp_path / "m/log/train.jsonl").read_text().splitlines()] == [2]


def test_with_another_number_of_processes_it_goes_on_at_the_next_epoch(
    pool: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made, config = pool(), replace(CONFIG, crops=3, statistics="own")
    assert together(tmp_path, lambda rank: run(made, tmp_path / "m", config, 1 if rank else None) and None) == [75, 75]
    capfd.readouterr()
    run(made, tmp_path / "m", config)
    said = capfd.readouterr().out.splitlines()[0]
    assert said.startswith("going on after step 1 of epoch 1 from ") and said.endswith(
        "(2 processes before, 1 now: goes on at the next epoch, no longer the same to the bit)"
    )
    assert len(losses(tmp_path / "m")) == 1  # of epoch 2


def test_shared_statistics_keep_names_and_values() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sequential(torch.nn.BatchNorm1d(4)))
    network(torch.randn(9, 3))
    before, x = {name: value.clone() for name, value in network.state_dict().items()}, torch.randn(5, 3)
    expected = network.eval()(x)
    share_statistics(network)
    assert isinstance(network[1][0], SharedBatchNorm) and network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(network(x), expected)
