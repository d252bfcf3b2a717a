"""An ONNX file by itself, with numpy and onnxruntime only: embeddings on one core, time and memory.

``python -m imlkd.export.measure FILE`` prints time and memory as JSON: a process of its own, so that its peak of memory
is that of the interpreter, numpy, onnxruntime and this model, and of nothing else.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.onnx_session import open_session

SECONDS, LONG_SECONDS = 2.0, 10.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """Of one file on one core.

    :param latency_ms: median time for 2 s of audio, front-end included; ``rtf``: time over duration of 10 s.
    :param memory_mb: peak of a process that does nothing else; ``size_mb``: the file. Both in millions of bytes.
    """

    latency_ms: float
    rtf: float
    memory_mb: float
    size_mb: float


def embed(session: Any, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(samples,) -> (D,); UserError when the waveform is shorter than the file's metadata allow."""
    shortest = int(session.get_modelmeta().custom_metadata_map.get("imlkd.min_samples", 1))
    if len(waveform) < shortest:
        raise UserError(f"audio of {len(waveform)} samples: the model needs {shortest} or more")
    return run(session, waveform)


def run(session: Any, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One row in, one embedding out, nothing asked."""
    found: npt.NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: inputs[None]})[0][0]
    return found


def seconds_of(session: Any, audio: npt.NDArray[np.float32], repetitions: int) -> list[float]:
    """Times of single runs, after two that warm up."""
    taken = []
    for _ in range(repetitions + 2):
        started = time.perf_counter()
        run(session, audio)
        taken.append(time.perf_counter() - started)
    return taken[2:]


def cost_here(path: Path | str, sample_rate: int, repetitions: int) -> Cost:
    """Measure in this process, which has to be a fresh one for the memory."""
    session = open_session(Path(path))
    generator = np.random.default_rng(0)
    short, long = (
        (0.1 * generator.standard_normal(round(seconds * sample_rate))).astype(np.float32)
        for seconds in (SECONDS, LONG_SECONDS)
    )
    latency = statistics.median(seconds_of(session, short, repetitions))
    memory = peak_memory()
    rtf = statistics.median(seconds_of(session, long, max(3, repetitions // 4))) / LONG_SECONDS
    return Cost(1000.0 * latency, rtf, memory, Path(path).stat().st_size / 1e6)


def peak_memory() -> float:
    """Of this process so far, in millions of bytes. Linux's own count: getrusage's starts at that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1.024e-3 * float(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def cost_of(path: Path, sample_rate: int, repetitions: int = 40) -> Cost:
    """Measure in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "imlkd.export.measure", str(path), str(sample_rate), str(repetitions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Cost(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(vars(cost_here(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
