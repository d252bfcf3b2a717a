"""Run as a process of its own: import packages for real, and measure how fast matrices are multiplied.

Only an import shows whether a package works: one built for another torch is found, and then fails. In a process of its
own, because some failures take the process with them. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

SIZE, REPETITIONS = 2048, 3


def imported(names: list[str]) -> dict[str, str]:
    """By package: empty when it could be imported, else the first words of its error."""
    found = {}
    for name in names:
        try:
            importlib.import_module(name)
            found[name] = ""
        except Exception as error:  # a wrong pair raises RuntimeError or OSError, a missing package ImportError
            found[name] = " ".join(str(error).split())[:160] or type(error).__name__
    return found


def gflops(multiply: Callable[[], Any], size: int) -> float:
    """Best of a few products of two square matrices, in 10^9 operations a second; the first one warms up."""
    taken = []
    for _ in range(REPETITIONS + 1):
        started = time.perf_counter()
        multiply()
        taken.append(time.perf_counter() - started)
    return round(2.0 * size**3 / min(taken[1:]) / 1e9, 1)


def numpy_rate(size: int) -> float:
    """float32, in numpy."""
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    return gflops(lambda: matrix @ matrix, size)


def torch_facts(size: int) -> dict[str, Any]:
    """Threads, rates of float32 and bfloat16, and the GPUs that torch can use."""
    import torch

    rates = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.ones(size, size, dtype=kind)
        rates[name] = gflops(lambda matrix=matrix: matrix @ matrix, size)  # type: ignore[misc]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_name(i) for i in range(count)]
    return {"threads": torch.get_num_threads(), "gflops": rates, "gpus": gpus, "cuda": torch.version.cuda or ""}


def main() -> None:
    """``probe SIZE PACKAGE...``"""
    size, names = int(sys.argv[1]), sys.argv[2:]
    errors = imported(names)
    found: dict[str, Any] = {"errors": errors}
    if errors.get("numpy") == "" and size:
        found["numpy_gflops"] = numpy_rate(size)
    if errors.get("torch") == "" and size:
        found["torch"] = torch_facts(size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
