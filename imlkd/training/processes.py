"""The processes of one training: who this one is, what they agree on, and its share of each batch."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from imlkd.training.device import training_device
from imlkd.training.sampling import Indices

GONE = ("closed by peer", "reset by peer", "Broken pipe", "Timed out waiting", "timed out")
"""What gloo and the store say when another process is no longer there."""
A_MOMENT = 2.0  # seconds in which the process that has failed says so itself, or the kernel does


def join_group() -> None:
    """Find the other processes that `imlkd launch` has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        on_gpu = training_device().type == "cuda"
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")


def has_lost_a_process(error: RuntimeError) -> bool:
    """Whether the error says that another process is gone; returns when that one has had time to say why."""
    if not isinstance(error, dist.DistError) and not any(words in str(error) for words in GONE):
        return False
    time.sleep(A_MOMENT)
    return True


class Processes:
    """One process alone, or the group that torch.distributed has been given."""

    def __init__(self) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if grouped else (0, 1)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def any(self, flags: list[bool]) -> list[bool]:
        """Each flag, true when it is on any process: by it they do the same at the same step."""
        if self.count == 1:
            return flags
        agreed = torch.tensor(flags, dtype=torch.int64)
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return [bool(value) for value in agreed]

    def gathered(self, value: Any) -> list[Any]:
        """The plain value of every process, in order; known to the leading one only."""
        if self.count == 1:
            return [value]
        values = [None] * self.count if self.leads else None
        dist.gather_object(value, values)
        return values or []

    def told(self, value: Any) -> Any:
        """The leading process's value, on all of them."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Each value's mean over the processes."""
        if self.count == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.count).tolist(), strict=True))

    def part(self, chosen: Indices) -> tuple[Indices, float]:
        """This process's rows of a batch, and the weight of their mean in the mean over the processes.

        All rows where there are too few to share: statistics need two.
        """
        if self.count == 1 or len(chosen) < 2 * self.count:
            return chosen, 1.0
        share: Indices = np.array_split(chosen, self.count)[self.rank]
        return share, self.count * len(share) / len(chosen)
