"""The part of `benchmarks/training.py` that needs a GPU."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.training_loops import CHANNELS, EVER, ROOT, make_trainer

GPU_METHODS, GPU_BATCH, GPU_WARM = ("none", "kd", "imlkd"), 256, 20


def gpu(steps: int) -> dict[str, Any]:
    """On a GPU, where there is one: samples a second and utilisation by method and precision, compiled or not."""
    import torch

    if not torch.cuda.is_available():
        return {"gpu": "not run: torch finds no GPU here"}
    found: dict[str, Any] = {"gpu": torch.cuda.get_device_name()}
    for method in GPU_METHODS:
        for precision, compiled in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
            words = [sys.executable, str(ROOT / "benchmarks/training.py"), "--child", "gpu", method, precision]
            out = subprocess.run(
                [*words, "compiled" if compiled else "", str(steps)], capture_output=True, text=True, check=True,
                cwd=ROOT, env=os.environ | {"IMLKD_NGPU": "1"},
            ).stdout  # fmt: skip
            rate, used = next(line.split()[1:] for line in out.splitlines() if line.startswith("RATE"))
            key = f"{method}_{precision}{'_compiled' if compiled else ''}"
            found |= {f"gpu_samples_per_second_{key}": float(rate), f"gpu_utilisation_{key}": float(used)}
    return found


def gpu_child(method: str, precision: str, compiled: str, steps: str) -> None:
    """Train on the GPU and print samples a second and its mean utilisation (percent), behind ``GPU_WARM`` steps."""
    import threading

    from imlkd.models.ecapa import EcapaConfig
    from imlkd.training.trainer import Pace

    samples, used, note = [(0.0, 0)], list[float](), Pace.step
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def watch() -> None:
        while True:
            if len(samples) > GPU_WARM:
                used.append(float(subprocess.run(query, capture_output=True, text=True).stdout.split()[0]))
            time.sleep(0.2)

    def step(self: Any, count: int, waited: float) -> None:
        note(self, count, waited)
        samples.append((time.perf_counter(), samples[-1][1] + count))
        if len(samples) == GPU_WARM + int(steps):
            (begin, before), (end, after) = samples[GPU_WARM], samples[-1]
            print("RATE", (after - before) / (end - begin), statistics.mean(used or [0.0]), flush=True)
            os._exit(0)

    Pace.step = step  # type: ignore[method-assign]
    threading.Thread(target=watch, daemon=True).start()
    more: dict[str, Any] = {"compile": True} if compiled else {}
    with tempfile.TemporaryDirectory() as work:
        network = EcapaConfig(channels=CHANNELS)
        make_trainer(
            Path(work), network, 5994, utterances=GPU_BATCH * 20, frames=200, method=method, epochs=EVER,
            batch=GPU_BATCH, precision=precision, **more,
        ).run()  # fmt: skip
