"""Makes the batches of a plan, in this process or in workers: the same ones, in the same order."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Generator

import torch
from torch.utils.data import DataLoader, Dataset

from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import UserError
from imlkd.training.config import LoaderConfig
from imlkd.training.position import Plan, Work
from imlkd.training.random_state import seed_of
from imlkd.training.sampling import Indices, SegmentPool

MakeBatch = Callable[[Indices], DistillationBatch]
Made = tuple[Work, DistillationBatch]


class Batches(Dataset[Made]):
    """Work -> its batch; what is drawn on the way depends on seed and place alone, not on who draws."""

    def __init__(self, make: MakeBatch, pool: SegmentPool, seed: int, rank: int) -> None:
        self.make, self.pool, self.seed, self.rank = make, pool, seed, rank

    def __getitem__(self, work: Work) -> Made:
        place = (work.position.epoch, work.position.step, *([self.rank] if self.rank else []))
        self.pool.at_epoch(work.position.epoch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, *place))
            return work, self.make(work.chosen)


class Loader:
    """Iterates over a plan with its batches; ``waited`` adds up the seconds that the training stood still for them."""

    def __init__(self, plan: Plan, make: MakeBatch, config: LoaderConfig) -> None:
        self.plan, self.config = plan, config
        self.batches = Batches(make, plan.pool, plan.config.seed, plan.processes.rank)
        self.waited = 0.0

    def __iter__(self) -> Generator[Made, None, None]:
        made = iter(self._loaded() if self.config.workers else map(self.batches.__getitem__, self.plan))
        while True:
            started = time.perf_counter()
            try:
                item = next(made)
            except StopIteration:
                return
            except UserError as error:
                said = str(error).strip().rpartition("UserError: ")[2]  # a worker puts its traceback in front
                raise UserError(said) from None
            except RuntimeError as error:
                raise explained(error, self.config) from error
            self.waited += time.perf_counter() - started
            yield item

    def _loaded(self) -> DataLoader[Made]:
        config = self.config
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=self.plan,
            num_workers=config.workers,
            prefetch_factor=config.prefetch,
            timeout=config.timeout,
            worker_init_fn=_be_quiet,
            generator=torch.Generator(),  # or its seeds would be drawn from the training's own generator
            multiprocessing_context="fork",  # features and targets are shared, not copied
        )


def _be_quiet(worker: int) -> None:
    """Signals are the training's business, which ends its workers itself; one thread each, and none that spins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    torch.set_num_threads(1)


def explained(error: RuntimeError, config: LoaderConfig) -> Exception:
    """A UserError for a worker that is stuck or gone, else the error itself."""
    text = str(error)
    if "timed out" in text:
        return UserError(
            f"a loader worker has made no batch for {config.timeout:g} s: see whether the disk answers, raise"
            " training.loader.timeout, or set training.loader.workers=0; the same command goes on from the checkpoint"
        )
    gone = re.search(r"worker \(pid\(?s?\)? ([\d, ]+)\) (?:exited|is killed by signal: (\w+))", text)
    if gone:
        how = f" by {gone[2]}" if gone[2] else ""
        return UserError(
            f"loader worker {gone[1]} was ended{how} (memory, or by hand): lower training.loader.workers; the same"
            " command goes on from the checkpoint"
        )
    return error
