"""What tests of several rooms share: the command line, a file-size limit, small data directories with features."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def imlkd() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the ``imlkd`` command: ``imlkd("score", "--help", cwd=..., timeout=...)``."""

    def call(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, env=environment, **options
        )  # type: ignore[call-overload,no-any-return]

    return call


@pytest.fixture(scope="session")
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """``with file_size_limit(1000):`` no file of this process grows past 1000 bytes, as on a full disk."""

    @contextlib.contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
