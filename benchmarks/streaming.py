"""Ten million trials through `imlkd score`: time and peak memory at two sizes.

A part of benchmarks/scoring.py. The command is run as a user runs it, reading and writing included; the peak is that of
its process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from imlkd.kaldi_io import ArkWriter

ROOT = Path(__file__).parents[1]
SIZES = {"million": 1_000_000, "ten_million": 10_000_000}
UTTERANCES, DIM = 10_000, 192
TOLERANCE = 1e-5
SAMPLE = 1000


def write_data(folder: Path) -> np.ndarray:
    """``x.scp``, and a list of each size; every pair of utterances comes once. Returns the embeddings (N, D)."""
    embeddings = np.random.default_rng(0).standard_normal((UTTERANCES, DIM), dtype=np.float32)
    names = [f"id1{i % 1251:04d}-abcdefghijk-{i // 1251:05d}" for i in range(UTTERANCES)]
    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        for name, vector in zip(names, embeddings, strict=True):
            writer.write(name, vector)
    for label, count in SIZES.items():
        with open(folder / label, "w", encoding="utf-8") as stream:
            for row in range(count // 1000):
                one, first = names[row % UTTERANCES], row // UTTERANCES * 1000
                stream.writelines(
                    f"{one} {names[(row + first + i) % UTTERANCES]} {'target' if i % 2 else 'nontarget'}\n"
                    for i in range(1000)
                )
    return embeddings


def run(folder: Path, label: str) -> tuple[float, float]:
    """Seconds and peak in MB of the command."""
    sides = ["--enroll-scp", folder / "x.scp", "--test-scp", folder / "x.scp"]
    command = [sys.executable, "-m", "imlkd.cli.main", "score", "--trials", folder / label, *sides]
    command += ["--out", folder / "out"]
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"imlkd score ended with {process.returncode}: nothing is measured")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def refuse_wrong(folder: Path, label: str, embeddings: np.ndarray) -> float:
    """The largest difference of a sample of scores from the cosines; SystemExit when it is too large."""
    places = {f"id1{i % 1251:04d}-abcdefghijk-{i // 1251:05d}": i for i in range(UTTERANCES)}
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    difference, lines, every = 0.0, 0, SIZES[label] // SAMPLE
    with open(folder / "out", encoding="utf-8") as stream:
        for lines, line in enumerate(stream, start=1):
            if lines % every == 0:
                one, other, score = line.split()
                difference = max(difference, abs(float(unit[places[one]] @ unit[places[other]]) - float(score)))
    if lines != SIZES[label] or not difference < TOLERANCE:
        sys.exit(f"{lines} scores, which differ by {difference}: no speed is measured")
    return difference


def measure(quick: bool) -> dict[str, float]:
    """Flat results, keys beginning with ``streamed_``; ``quick`` changes nothing, one run of each size is enough."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        embeddings = write_data(folder)
        for label in SIZES:
            seconds, peak = run(folder, label)
            results |= {f"streamed_{label}_seconds": seconds, f"streamed_{label}_peak_mb": peak}
            results["streamed_largest_difference"] = refuse_wrong(folder, label, embeddings)
    growth = results["streamed_ten_million_peak_mb"] - results["streamed_million_peak_mb"]
    results["streamed_bytes_a_further_trial"] = growth * 2**20 / (SIZES["ten_million"] - SIZES["million"])
    return {key: float(f"{value:.4g}") for key, value in results.items()}
