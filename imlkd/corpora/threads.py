"""Threads for work on many files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool


@contextlib.contextmanager
def threads(count: int) -> Iterator[ThreadPool]:
    """A pool that has ended behind the block, so that nothing is written any more once a lock is given back."""
    pool = ThreadPool(count)
    try:
        yield pool
    finally:
        pool.terminate()  # begins no further task
        pool.join()
