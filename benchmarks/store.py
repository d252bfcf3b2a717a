#!/usr/bin/env python3
"""A store of speakers at two sizes: opening, searching, enrolling. Bound of the project: 50 ms a search in 100,000."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imlkd.runtime.model import ModelCard
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore

SIZES, DIM, TOP = (10_000, 100_000), 192, 5
CARD = ModelCard("benchmark", "0" * 64, 16000, DIM)


def unit(generator: np.random.Generator, count: int) -> Any:
    """(count, DIM) rows of length 1."""
    rows = generator.normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def milliseconds(
    work: Callable[[], object], repetitions: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median time by ``clock`` (the wall's), after one run that warms up."""
    taken = []
    for _ in range(repetitions + 1):
        started = clock()
        work()
        taken.append(1000.0 * (clock() - started))
    return round(statistics.median(taken[1:]), 3)


def faiss_search(rows: Any, query: Any, expected: list[int], repetitions: int) -> float | None:
    """The same search by FAISS's exact index, one thread; None when it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(rows)
    assert index.search(query[None], TOP)[1][0].tolist() == expected, "FAISS finds others"
    return milliseconds(lambda: index.search(query[None], TOP), repetitions)


def measure(speakers: int, folder: Path, repetitions: int) -> dict[str, float | None]:
    """All times of one size, in milliseconds."""
    generator = np.random.default_rng(0)
    rows, query, new = unit(generator, speakers), unit(generator, 1)[0], iter(unit(generator, 100))
    path = folder / f"{speakers}.sqlite"
    started = time.perf_counter()
    with SpeakerStore(path, CARD) as store:
        store.enroll({f"s{i:06d}": [Enrolment("x.wav", 2.0, row)] for i, row in enumerate(rows)})
        filled = time.perf_counter() - started
        store.search(query)
        expected = np.argsort(-(rows.astype(np.float64) @ query), kind="stable")[:TOP].tolist()
        assert [int(one.name[1:]) for one in store.search(query, TOP)] == expected, "not the nearest"
        search = milliseconds(lambda: store.search(query, TOP), repetitions)
        processor = milliseconds(lambda: store.search(query, TOP), repetitions, time.process_time)

    def open_and_search() -> None:
        with SpeakerStore(path, CARD) as fresh:
            fresh.search(query, TOP)

    opening = milliseconds(open_and_search, max(1, repetitions // 10))
    with SpeakerStore(path, CARD) as store:
        enrol = milliseconds(lambda: store.enroll({"new": [Enrolment("y.wav", 2.0, next(new))]}), min(repetitions, 20))
    return {
        "search_ms": search,
        "search_processor_ms": processor,
        "faiss_search_ms": faiss_search(rows, query, expected, repetitions),
        "open_and_first_search_ms": opening,
        "enrol_ms": enrol,
        "fill_seconds": round(filled, 2),
        "megabytes": round(path.stat().st_size / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 repetitions instead of 100")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    repetitions = 10 if options.quick else 100
    found: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": 1}
    found |= {"dimensions": DIM, "repetitions": repetitions}
    with tempfile.TemporaryDirectory() as folder:
        for speakers in SIZES:
            for name, value in measure(speakers, Path(folder), repetitions).items():
                if value is not None:
                    found[f"{name}_{speakers}"] = value
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name:36} {value}")


if __name__ == "__main__":
    main()
