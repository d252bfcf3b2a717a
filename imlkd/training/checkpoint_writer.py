"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

from concurrent import futures
from types import TracebackType

from imlkd.training.checkpoint import BestWeights, CheckpointStore, State
from imlkd.training.full_state import copied


class CheckpointWriter:
    """Copies a state, and leaves the rest to a thread: bytes, digest, disk, and what is not kept any more.

    One at a time, so that there is one copy in memory at most. What goes wrong in the thread is raised in the training,
    by the next call of any of these. As a context it ends with everything on the disk, whatever else went wrong.
    """

    def __init__(self, store: CheckpointStore, best: BestWeights) -> None:
        self.store, self.best = store, best
        self._thread = futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: futures.Future[None] | None = None

    def save(self, state: State, alone: bool = False) -> None:
        """Write ``state`` as it is now, behind the one that is being written.

        :param alone: remove all checkpoints of another training.
        """
        self.wait()
        self._pending = self._thread.submit(self._write, copied(state), alone)

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is on its way to the disk."""
        return self._pending is not None and not self._pending.done()

    def look(self) -> None:
        """Raise what a write has met that is over; never waits."""
        if not self.is_busy:
            self.wait()

    def wait(self) -> None:
        """Until everything is on the disk."""
        pending = self._pending
        if pending is not None:
            futures.wait([pending])
            self._pending = None
            pending.result()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        elif self._pending is not None:
            futures.wait([self._pending])  # and the error is the training's own

    def _write(self, state: State, alone: bool) -> None:
        course = state["course"]
        epoch, step, steps = course["position"]
        path = self.store.save(state, steps)
        if alone:
            self.store.remove_others(path)
        if step == 0:  # the end of an epoch
            self.best.write(epoch, state["modules"]["model"], course["best"])
