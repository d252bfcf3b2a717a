"""Where a training is, and the work that lies ahead of there: the same batches whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imlkd.training.config import TrainingConfig
from imlkd.training.processes import Processes
from imlkd.training.sampling import Indices, SegmentPool

FRAMES_OF_2_S = 200


@dataclass(frozen=True)
class Position:
    """``step`` steps of epoch ``epoch`` are done (both from 0), ``steps`` in all."""

    epoch: int = 0
    step: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Work:
    """One step: the segments of its batch, and its place.

    :param of: steps of the epoch.
    :param chosen: this process's segments.
    :param weight: of its mean loss, so that the mean over the processes is that over all rows.
    """

    position: Position
    of: int
    chosen: Indices
    weight: float = 1.0

    @property
    def after(self) -> Position:
        """Where the training is once this step is done; behind the last step of an epoch, at the next one's start."""
        here = self.position
        if self.ends_epoch:
            return Position(here.epoch + 1, 0, here.steps + 1)
        return Position(here.epoch, here.step + 1, here.steps + 1)

    @property
    def ends_epoch(self) -> bool:
        return self.position.step + 1 == self.of

    def steps_left(self, epochs: int) -> int:
        """Of the whole training behind this step, were all epochs as long as this one."""
        return self.of - self.position.step - 1 + self.of * (epochs - self.position.epoch - 1)

    def share(self, epochs: int) -> float:
        """Of the whole training that lies before this step."""
        return (self.position.epoch + self.position.step / self.of) / epochs


class Plan:
    """All steps from a position on. An epoch is drawn from seed and number alone, so that to skip costs nothing."""

    def __init__(self, pool: SegmentPool, config: TrainingConfig, start: Position, processes: Processes) -> None:
        self.pool, self.config, self.start, self.processes = pool, config, start, processes

    def epoch(self, epoch: int) -> list[Indices]:
        """The batches of an epoch, in order."""
        config = self.config
        return self.pool.epoch_batches(config.batch * FRAMES_OF_2_S, config.crops, config.seed, epoch)

    def largest(self) -> Work:
        """The step of the coming epoch whose batch has most frames."""
        batches = self.epoch(self.start.epoch)
        sizes = [len(batch) * self.pool.segments[batch[0]].frames for batch in batches]
        step = sizes.index(max(sizes))
        own, weight = self.processes.part(batches[step])
        return Work(Position(self.start.epoch, step, self.start.steps), len(batches), own, weight)

    def __iter__(self) -> Iterator[Work]:
        steps, first = self.start.steps, self.start.step
        for epoch in range(self.start.epoch, self.config.epochs):
            batches = self.epoch(epoch)
            for step in range(first, len(batches)):
                own, weight = self.processes.part(batches[step])
                yield Work(Position(epoch, step, steps), len(batches), own, weight)
                steps += 1
            first = 0
