"""Batches are the same whoever makes them, from any position on; a worker that is stuck or gone is named."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable

import pytest
import torch

from imlkd.corpora.audio import AudioProblem
from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import UserError
from imlkd.training import loader as loader_module
from imlkd.training.config import LoaderConfig, TrainingConfig
from imlkd.training.loader import Loader, explained
from imlkd.training.position import Plan, Position
from imlkd.training.processes import Processes
from imlkd.training.sampling import Indices, SegmentPool

Make = Callable[..., SegmentPool]
CONFIG = TrainingConfig(epochs=3, batch=2, crops=3, seed=3)
Listed = list[tuple[Position, list[int], float, float]]


START = Position()


def loader(
    pool: SegmentPool, start: Position, config: LoaderConfig, extra: Callable[[], None] = lambda: None
) -> Loader:
    def make(chosen: Indices) -> DistillationBatch:
        extra()
        return DistillationBatch(pool.crops(chosen) + torch.rand(()), pool.classes(chosen))

    return Loader(Plan(pool, CONFIG, start, Processes()), make, config)


def listed(pool: SegmentPool, workers: int, start: Position = START) -> Listed:
    made = loader(pool, start, LoaderConfig(workers=workers, prefetch=2))
    return [(w.position, w.chosen.tolist(), float(b.features.double().mean()), w.share(3)) for w, b in made]


def test_the_same_batches_from_any_number_of_workers_and_any_position(pool: Make) -> None:
    made = pool(6, 4)
    state = torch.get_rng_state()
    alone = listed(made, 0)
    assert torch.equal(torch.get_rng_state(), state), "the training's own random numbers were touched"
    assert listed(made, 1) == listed(made, 2) == alone
    assert torch.equal(torch.get_rng_state(), state)
    assert [position.steps for position, *_ in alone] == list(range(len(alone))) and len(alone) > 6
    for i in (1, len(alone) // 2, len(alone) - 1):
        assert listed(made, 0, alone[i][0]) == alone[i:]
    assert listed(made, 2, alone[4][0]) == alone[4:]


def test_a_stuck_worker_is_not_waited_for(pool: Make) -> None:
    made = loader(pool(), Position(), LoaderConfig(workers=1, timeout=1.0), lambda: time.sleep(60))
    with pytest.raises(UserError, match="a loader worker has made no batch for 1 s: .* training.loader.timeout"):
        next(iter(made))
    assert not multiprocessing.active_children()


def test_a_worker_that_was_killed_is_named(pool: Make) -> None:
    made = loader(pool(), Position(), LoaderConfig(workers=1), lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match=r"loader worker \d+ was ended.*lower training.loader.workers"):
        next(iter(made))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [
    UserError("wav.scp: u1: cut off: copy it again"), AudioProblem("wav.scp: u1", "cut off", "copy it again"),
])  # fmt: skip
def test_an_error_in_a_worker_is_one_line(pool: Make, error: UserError, workers: int) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(UserError) as caught:
        next(iter(loader(pool(), Position(), LoaderConfig(workers=workers), fail)))
    assert str(caught.value) == "wav.scp: u1: cut off: copy it again"


def test_what_is_said_of_a_worker_and_of_nothing_else() -> None:
    """What a killed worker was handing over is gone with it; an error of making a batch is none of the worker."""
    some, none = LoaderConfig(workers=2), LoaderConfig(workers=0)
    for error in (ConnectionResetError(104, "Connection reset by peer"), ConnectionRefusedError(), EOFError()):
        said = explained(error, some)
        assert isinstance(said, UserError) and "loader worker was ended (memory, or by hand): lower" in str(said)
        assert explained(error, none) is None
    for other in (RuntimeError("shape mismatch"), EOFError("Caught EOFError in DataLoader worker process 0.\nTrace")):
        assert explained(other, some) is None


def test_a_batch_that_is_gone_with_its_worker(pool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "A_MOMENT", 0.0)

    def lost(self: Loader) -> object:
        raise ConnectionResetError(104, "Connection reset by peer")
        yield

    monkeypatch.setattr(Loader, "_loaded", lost)
    with pytest.raises(UserError, match="loader worker was ended"):
        next(iter(loader(pool(), Position(), LoaderConfig(workers=1))))
