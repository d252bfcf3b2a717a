"""Ten million trials through `imlkd score`: time and peak memory at two sizes, beside a loop of scikit-learn's cosine.

A part of benchmarks/scoring.py. The command is run as a user runs it, reading and writing included; the peak is that of
its process. The loop is timed on some of the trials and counts per trial.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import launched
import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from imlkd.kaldi_io import ArkWriter

ROOT = Path(__file__).parents[1]
SIZES = {"million": 1_000_000, "ten_million": 10_000_000}
UTTERANCES, DIM = 10_000, 192
TOLERANCE = 1e-5
SAMPLE = 1000
LOOP = 20_000  # trials that the loop is timed on


def names_of(count: int) -> list[str]:
    """Ids of the utterances."""
    return [f"id1{i % 1251:04d}-abcdefghijk-{i // 1251:05d}" for i in range(count)]


def write_data(folder: Path) -> np.ndarray:
    """``x.scp``, and a list of each size; every pair of utterances comes once. Returns the embeddings (N, D)."""
    embeddings = np.random.default_rng(0).standard_normal((UTTERANCES, DIM), dtype=np.float32)
    names = names_of(UTTERANCES)
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
    found = launched.measured(list(map(str, command)), os.environ | {"PYTHONPATH": str(ROOT)})
    return found["seconds"], found["mb"]


def scikit_learn_loop(folder: Path, embeddings: np.ndarray) -> float:
    """Seconds a trial of scikit-learn's cosine, one trial at a time as wespeaker's ``score.py`` takes it.

    Of the first trials of a list, embeddings in memory; reading and writing are left out. SystemExit when a score is
    not that of the score file.
    """
    vectors = dict(zip(names_of(len(embeddings)), embeddings, strict=True))
    with open(folder / "out", encoding="utf-8") as stream:
        rows = [line.split() for line in islice(stream, LOOP)]
    started = time.perf_counter()
    scores = [cosine_similarity(vectors[a].reshape(1, -1), vectors[b].reshape(1, -1))[0][0] for a, b, _ in rows]
    seconds = time.perf_counter() - started
    difference = float(np.abs(np.array(scores) - [float(score) for _, _, score in rows]).max())
    if not difference < TOLERANCE:
        sys.exit(f"scikit-learn and ours differ by {difference}: no speed is measured")
    return seconds / len(rows)


def refuse_wrong(folder: Path, label: str, embeddings: np.ndarray) -> float:
    """The largest difference of a sample of scores from the cosines; SystemExit when it is too large."""
    places = {name: i for i, name in enumerate(names_of(UTTERANCES))}
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
        theirs = scikit_learn_loop(folder, embeddings) * SIZES["ten_million"]
        results["streamed_scikit_learn_loop_seconds"] = theirs
        results["streamed_speedup_vs_scikit_learn_loop"] = theirs / results["streamed_ten_million_seconds"]
    growth = results["streamed_ten_million_peak_mb"] - results["streamed_million_peak_mb"]
    results["streamed_bytes_a_further_trial"] = growth * 2**20 / (SIZES["ten_million"] - SIZES["million"])
    return {key: float(f"{value:.4g}") for key, value in results.items()}
