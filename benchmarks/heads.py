#!/usr/bin/env python3
"""What a head costs on CPU: milliseconds and peak memory of a training step by classes, with all of them and with some.

An ECAPA-128 learns from labels (`none`) or from cached logits on two views (`imlkd`), a batch of 64 segments of 2 s,
AdamW over all weights. `head` is the same step with embeddings given: head, loss terms and update alone. Each row runs
in a process of its own, so that its peak memory is its own. Milliseconds are those of the processor, on one thread, so
that a machine with other work gives nearly the same ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROWS, FRAMES, BINS, DIM = 64, 200, 80, 192
CLASSES = (1211, 5994, 17982)  # VoxCeleb1's training speakers, VoxCeleb2's, and these with speed copies as speakers
SHARES = (1.0, 0.1)
KINDS = ("none", "imlkd", "head")
ROUNDS, QUICK, STEPS = 5, 1, 3


def step_of(kind: str, classes: int, share: float) -> Callable[[], None]:
    """A closure that trains one step; everything it needs is built before."""
    import torch

    from imlkd.distillation.batch import DistillationBatch
    from imlkd.distillation.objective import Objective, build_method
    from imlkd.features.fbank import FbankConfig
    from imlkd.models.ecapa import Ecapa, EcapaConfig
    from imlkd.models.speaker_model import CosineHead, SpeakerOutput

    torch.manual_seed(0)
    student = Ecapa(EcapaConfig(channels=128, embedding_dim=DIM), FbankConfig(num_mel_bins=BINS))
    student.head = CosineHead(DIM, [f"s{i}" for i in range(classes)])
    objective = Objective(build_method("none" if kind == "none" else "imlkd", None), 0.2, 30.0)
    objective.share = share
    logits, relevance = 30 * (2 * torch.rand(ROWS, classes) - 1), torch.rand(ROWS, FRAMES)
    batch = DistillationBatch(
        torch.randn(ROWS, FRAMES, BINS), torch.randint(classes, (ROWS,)), logits, relevance, logits
    )
    if kind == "head":
        given = torch.randn(2 * ROWS, DIM, requires_grad=True)
        objective.encode = lambda features, lengths: SpeakerOutput([features], given, given, None)
    parameters = student.head.parameters() if kind == "head" else student.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    student.train()

    def step() -> None:
        loss, _ = objective(student, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def measure_one(kind: str, classes: int, share: float, steps: int = STEPS) -> dict[str, float]:
    """Median milliseconds of a step, the first not counted, and peak MB; run in a process of its own."""
    import torch

    torch.set_num_threads(1)
    step, seconds = step_of(kind, classes, share), list[float]()
    for _ in range(steps + 1):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ms": 1000 * statistics.median(seconds[1:]), "mb": peak}


def measured(kind: str, classes: int, share: float) -> dict[str, float]:
    """``measure_one`` in a fresh process."""
    command = [sys.executable, __file__, "--one", kind, str(classes), str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(rounds: int) -> dict[str, float]:
    """All keys of the table in benchmarks/README.md."""
    results = dict[str, float]()
    for kind in KINDS:
        rows = [(classes, share) for classes in CLASSES for share in SHARES]
        found: dict[tuple[int, float], list[dict[str, float]]] = {row: [] for row in rows}
        for _ in range(rounds):
            for row in rows:
                found[row].append(measured(kind, *row))
        for (classes, share), each in found.items():
            name = f"{kind}_{classes}" + ("" if share == 1.0 else f"_share{share:g}".replace(".", ""))
            results[f"step_ms_{name}"] = min(one["ms"] for one in each)
            results[f"peak_mb_{name}"] = min(one["mb"] for one in each)
            print(f"{name:24} {results[f'step_ms_{name}']:8.0f} ms {results[f'peak_mb_{name}']:7.0f} MB", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, classes, share = options.one
        print(json.dumps(measure_one(kind, int(classes), float(share))))
        return
    if options.json is None:
        parser.error("--json FILE: give the file to write")
    import torch

    results: dict[str, float | str | None] = {
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": 1, "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2), "batch": ROWS,
    }  # fmt: skip
    results |= {key: round(value, 1) for key, value in measure(QUICK if options.quick else ROUNDS).items()}
    options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
