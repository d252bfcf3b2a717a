"""Rows of a batch side by side: a part of them for each thread, instead of threads inside every step of the network.

A network is hundreds of small steps, and threads that share each of them spend much of their time waiting for one
another; parts of a batch have nothing to wait for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class RowThreads:
    """Threads that each compute with one thread of torch, made when they are first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._made_for = (0, 0)

    def parts(self, rows: Tensor) -> int:
        """In how many parts these rows are computed: one where that is no processor's work, or one thread's."""
        return 1 if rows.device.type != "cpu" else min(torch.get_num_threads(), len(rows))

    def map(self, work: Callable[..., T], *inputs: Tensor) -> list[T]:
        """``work`` of each part of the inputs, which have as many rows each; in order."""
        parts = self.parts(inputs[0])
        if parts < 2:
            return [work(*inputs)]
        return list(self._threads().map(work, *(one.tensor_split(parts) for one in inputs)))

    def _threads(self) -> ThreadPoolExecutor:
        made_for = (os.getpid(), torch.get_num_threads())  # a forked process has none of its parent's threads
        if self._pool is None or self._made_for != made_for:
            self._pool, self._made_for = _pool_of(made_for[1]), made_for
        return self._pool


def _pool_of(count: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(count, "rows")
    ready = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(_take_one, ready)
    ready.wait()
    torch.set_num_threads(count)  # what a thread sets for itself, threads that begin later would begin with
    return pool


def _take_one(ready: threading.Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # torch takes its setting up in a thread at the first question
    ready.wait()


def joined(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The parts' results below one another."""
    return parts[0] if len(parts) == 1 else tuple(torch.cat(one) for one in zip(*parts, strict=True))
