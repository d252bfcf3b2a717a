#!/usr/bin/env python3
"""Segments of minimum duration and their masks: backend numpy against k2, same answers checked first. One thread."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before numpy is imported, here and in the process of k2

import numpy as np  # noqa: E402

from imlkd.attribution.segmentation.graph import Batch, Graph, batch_of  # noqa: E402
from imlkd.attribution.segments import Backend, get_backend, runs_of  # noqa: E402
from imlkd.errors import UserError  # noqa: E402

SIZES = {"64x1000": (64, 1000), "128x2000": (128, 2000)}  # utterances x frames
GRAPH = Graph(on=20, off=30, penalty=2.0)


def drawn(utterances: int, frames: int) -> Batch:
    """Log-odds of speech that comes and goes, in noise."""
    generator = np.random.default_rng(0)
    periods = generator.uniform(10, 60, utterances)
    waves = [3 * np.sign(np.sin(np.arange(frames) / period)) for period in periods]
    return batch_of([wave + generator.normal(0, 2, frames) for wave in waves], GRAPH)


def check_equal(batch: Batch, ours: Backend, theirs: Backend) -> float:
    """Largest difference of the masks; SystemExit where the segments differ."""
    pairs = zip(ours.best(batch), theirs.best(batch), strict=True)
    if any(runs_of(one) != runs_of(other) for one, other in pairs):
        raise SystemExit("the backends find other segments")
    masks = zip(ours.posteriors(batch), theirs.posteriors(batch), strict=True)
    return max(float(np.abs(one - other).max()) for one, other in masks)


def seconds_of(call: Callable[[Batch], object], batch: Batch) -> float:
    started = time.perf_counter()
    call(batch)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 repetition instead of 15")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    repetitions = 1 if options.quick else 15
    backends = {"numpy": get_backend("numpy")}
    try:
        backends["k2"] = get_backend("k2")
    except UserError as error:
        print(error)
    found: dict[str, object] = {
        "machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
        "repetitions": repetitions, "k2": type(backends["k2"]).__name__ if "k2" in backends else "not there",
    }  # fmt: skip
    for size, (utterances, frames) in SIZES.items():
        batch = drawn(utterances, frames)
        if "k2" in backends:
            found[f"mask_difference_{size}"] = check_equal(batch, backends["numpy"], backends["k2"])
        taken: dict[str, list[float]] = {}
        for _ in range(repetitions):  # turn by turn, so that what else the machine does hits both
            for name, backend in backends.items():
                for what, call in (("segments", backend.best), ("masks", backend.posteriors)):
                    seconds = seconds_of(call, batch)
                    taken.setdefault(f"{name}_{what}_{size}_seconds", []).append(seconds)
        for key, times in taken.items():
            found[key] = round(statistics.median(times), 5)
            print(f"{key:32} {found[key]:.5f}  ({min(times):.5f} to {max(times):.5f})")
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
