"""Makes the batches of a plan, in this process or in workers: the same ones, in the same order."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.process import BaseProcess

import torch
from torch.utils.data import DataLoader, Dataset

from imlkd.distillation.batch import DistillationBatch
from imlkd.errors import UserError
from imlkd.training.config import LoaderConfig
from imlkd.training.position import Plan, Work
from imlkd.training.processes import A_MOMENT
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
            try:
                return work, self.make(work.chosen)
            except UserError as error:  # of whatever kind: torch makes it anew, from a message alone
                raise UserError(str(error)) from None


class Loader:
    """Iterates over a plan with its batches; ``waited`` adds up the seconds that the training stood still for them."""

    def __init__(self, plan: Plan, make: MakeBatch, config: LoaderConfig) -> None:
        self.plan, self.config = plan, config
        self.batches = Batches(make, plan.pool, plan.config.seed, plan.processes.rank)
        self.waited = 0.0

    def __iter__(self) -> Generator[Made, None, None]:
        others = multiprocessing.active_children()
        made = iter(self._loaded() if self.config.workers else map(self.batches.__getitem__, self.plan))
        workers = [process for process in multiprocessing.active_children() if process not in others]
        try:
            yield from self._timed(made)
        finally:
            _end(workers)

    def _timed(self, made: Iterator[Made]) -> Generator[Made, None, None]:
        while True:
            started = time.perf_counter()
            try:
                item = _next(made)
            except StopIteration:
                return
            except UserError as error:
                own = str(error).strip().rpartition("UserError: ")[2]  # a worker puts its traceback in front
                raise UserError(own) from None
            except (RuntimeError, ConnectionError, EOFError) as error:
                said = explained(error, self.config)
                if said is None:
                    raise
                raise said from error
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


def _next(made: Iterator[Made]) -> Made:
    try:
        return next(made)
    except (ConnectionError, EOFError):  # a worker is gone in the middle of handing over
        time.sleep(A_MOMENT)  # the signal that says which comes a little later
        raise


def _be_quiet(worker: int) -> None:
    """Signals are the training's business, which ends its workers itself; one thread each, and none that spins.

    Launchers and clusters send SIGTERM to all processes there are, and the training has a step to finish.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)  # what is ignored, commands of wav.scp would ignore as well
    torch.set_num_threads(1)


def _end(workers: Iterable[BaseProcess]) -> None:
    """Wait for none of them: they hold nothing, and one may be stuck."""
    for worker in workers:
        with contextlib.suppress(RuntimeError):  # torch says of each that it was killed
            worker.kill()
            worker.join(A_MOMENT)


def explained(error: Exception, config: LoaderConfig) -> UserError | None:
    """What to say of a worker that is stuck or gone; nothing of other errors.

    torch raises the latter by a signal, wherever the training is then.
    """
    text = str(error)
    if not config.workers or text.startswith("Caught "):  # an error of the batch it was making
        return None
    if isinstance(error, ConnectionError | EOFError):
        return _gone("was ended")
    if "timed out" in text:
        return UserError(
            f"a loader worker has made no batch for {config.timeout:g} s: see whether the disk answers, raise"
            " training.loader.timeout, or set training.loader.workers=0; the same command goes on from the checkpoint"
        )
    gone = re.search(r"worker \(pid\(?s?\)? ([\d, ]+)\) (?:exited|is killed by signal: (\w+))", text)
    if gone:
        return _gone(f"{gone[1]} was ended{f' by {gone[2]}' if gone[2] else ''}")
    return None


def _gone(what: str) -> UserError:
    return UserError(
        f"loader worker {what} (memory, or by hand): lower training.loader.workers; the same command goes on from the"
        " checkpoint"
    )
