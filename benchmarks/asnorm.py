#!/usr/bin/env python3
"""AS-norm at the size of Vox1-E against wespeaker's way: the whole matrix of scores, sorted as a whole, side by side.

Both get the same embeddings, raw scores and threads, and give normalised scores, which are compared first. Left out for
both: reading, the raw scores, writing. Its way is timed on a twentieth and on a tenth of each side's embeddings, and
the line through both gives the time of all; its loop over trials, without the magnitudes it also takes, is timed on
those that the tenth holds, and counts per trial. The first run in a process pays for fresh memory, of which the peer
takes 7 GB: it has keys of its own (`first_run`), and the others are medians of the runs after it. The whole command,
`imlkd score --norm as`, is run once by itself.

A part of benchmarks/scoring.py, which this script serves as a process for each way.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import launched
import numpy as np

from imlkd.kaldi_io import ArkWriter

ROOT = Path(__file__).parents[1]
UTTERANCES, DIM, SPEAKERS, COHORT, TOP, TRIALS = 145_375, 256, 1_251, 5_994, 300, 580_000
PARTS = (20, 10)  # wespeaker's way runs on these fractions of the embeddings
TOLERANCE = 1e-5
SAMPLE = 1000  # scores of the command that are looked at


def make_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, D), cohort (C, D), and the rows of each trial's enrolment and test; speakers in 40 directions."""
    generator = np.random.default_rng(0)
    axes = generator.standard_normal((40, DIM), dtype=np.float32)
    centres = generator.standard_normal((SPEAKERS, 40), dtype=np.float32) @ axes
    embeddings = 3.0 * generator.standard_normal((UTTERANCES, DIM), dtype=np.float32)
    embeddings += centres[np.arange(UTTERANCES) % SPEAKERS]
    cohort = generator.standard_normal((COHORT, 40), dtype=np.float32) @ axes
    enroll, test = generator.integers(0, UTTERANCES, (2, TRIALS))
    return embeddings, cohort, enroll, test


def cosines(embeddings: np.ndarray, enroll: np.ndarray, test: np.ndarray) -> np.ndarray:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = np.empty(len(enroll))
    for start in range(0, len(enroll), 16384):
        block = slice(start, start + 16384)
        scores[block] = np.einsum("td,td->t", unit[enroll[block]], unit[test[block]])
    return scores


def ours(repetitions: int) -> dict[str, object]:
    """As `imlkd score --norm as` does it: the embeddings of both sides once, blocks side by side, partition."""
    from imlkd.scoring.backend import Cosine
    from imlkd.scoring.normalisation import cohort_statistics, normalise

    embeddings, cohort, enroll, test = make_data()
    raw = cosines(embeddings, enroll, test)
    names, index = np.unique(np.concatenate([enroll, test]), return_inverse=True)
    rows, workers = embeddings[names], int(os.environ["OMP_NUM_THREADS"])
    backend, seconds = Cosine(), []
    for _ in range(1 + repetitions):
        started = time.perf_counter()
        found = cohort_statistics(rows, backend.dot_rows(cohort), TOP, backend.dot_rows, workers=workers)
        normalised = normalise(raw, "as", (found, index[: len(enroll)]), (found, index[len(enroll) :]))
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found_seconds = {"seconds": statistics.median(seconds[1:]), "first_run": seconds[0]}
    return {**found_seconds, "peak_mb": peak, "scores": normalised}


def floor(repetitions: int) -> dict[str, object]:
    """The bare product of matrices, each embedding with the cohort once, in blocks of the best size."""
    embeddings, cohort, _, _ = make_data()
    seconds = {}
    for size in (256, 1024):
        out = np.empty((size, COHORT), dtype=np.float32)
        taken = []
        for _ in range(1 + repetitions):
            started = time.perf_counter()
            for start in range(0, UTTERANCES, size):
                block = embeddings[start : start + size]
                np.matmul(block, cohort.T, out=out[: len(block)])
            taken.append(time.perf_counter() - started)
        seconds[size] = statistics.median(taken[1:])
    return {"seconds": min(seconds.values())}


def full_sort(repetitions: int) -> dict[str, object]:
    """wespeaker's `score_norm.py`: the distinct enrolments, then the distinct tests, each as one sorted matrix."""
    embeddings, cohort, enroll, test = make_data()
    sides = [np.unique(side) for side in (enroll, test)]
    sizes, taken, first, found = [], [], [], []
    for part in PARTS:
        shares = [names[: len(names) // part] for names in sides]
        sizes.append(sum(map(len, shares)))
        rows = [embeddings[names] for names in shares]
        seconds = []
        for _ in range(1 + repetitions):
            started = time.perf_counter()
            found = [mean_and_std_by_sort(side, cohort) for side in rows]
            seconds.append(time.perf_counter() - started)
        taken.append(statistics.median(seconds[1:]))
        first.append(seconds[0])
    size = sum(map(len, sides))
    # The trials whose sides both lie in the tenth, normalised, to be compared.
    chosen = np.flatnonzero(np.isin(enroll, shares[0]) & np.isin(test, shares[1]))
    raw = cosines(embeddings, enroll[chosen], test[chosen])
    pairs = [(str(first), str(second)) for first, second in zip(enroll[chosen], test[chosen], strict=True)]
    places = [{str(name): place for place, name in enumerate(names)} for names in shares]
    started = time.perf_counter()
    scores = normalised_one_by_one(pairs, raw.tolist(), places, found)
    loop = (time.perf_counter() - started) / len(chosen) * TRIALS
    seconds = {"seconds": scaled(sizes, taken, size) + loop, "first_run": scaled(sizes, first, size) + loop}
    return {**seconds, "loop_seconds": loop, "chosen": chosen, "scores": scores}


def of_command(folder: Path) -> dict[str, float]:
    """`imlkd score --norm as` on the same embeddings, files read and written; SystemExit when a score is wrong."""
    embeddings, cohort, enroll, test = make_data()
    pairs = np.unique(np.stack([enroll, test], axis=1), axis=0)  # a list holds a pair once
    names = write_set(folder, "x", embeddings)
    write_set(folder, "cohort", cohort)
    same = pairs[:, 0] % SPEAKERS == pairs[:, 1] % SPEAKERS
    with open(folder / "trials", "w", encoding="utf-8") as stream:
        for (one, other), target in zip(pairs.tolist(), same.tolist(), strict=True):
            stream.write(f"{names[one]} {names[other]} {'target' if target else 'nontarget'}\n")
    command = [sys.executable, "-m", "imlkd.cli.main", "score", "--trials", "trials", "--enroll-scp", "x.scp"]
    command += ["--test-scp", "x.scp", "--utt2spk", "x.utt2spk", "--norm", "as", "--top-k", str(TOP)]
    command += ["--cohort-scp", "cohort.scp", "--cohort-utt2spk", "cohort.utt2spk", "--out", "out"]
    found = launched.measured(command, os.environ | {"PYTHONPATH": str(ROOT)}, str(folder))
    every = max(1, len(pairs) // SAMPLE)
    with open(folder / "out", encoding="utf-8") as stream:
        scores = np.array([float(line.split()[2]) for line in stream])[::every]
    one, other = pairs[::every].T
    sides = [mean_and_std_by_sort(embeddings[rows], cohort) for rows in (one, other)]
    raw = cosines(embeddings, one, other)
    expected = sum((raw - mean) / std for mean, std in sides) / 2
    difference = float(np.abs(scores - expected).max())
    if not difference < TOLERANCE:
        sys.exit(f"scores of the command differ by {difference}: nothing is measured")
    return {"command_seconds": found["seconds"], "command_peak_mb": found["mb"]}


def write_set(folder: Path, name: str, embeddings: np.ndarray) -> list[str]:
    """``<name>.scp`` and ``<name>.utt2spk``, whose ids are returned; each of a cohort is a speaker."""
    ids = [f"{name}{i:06d}" for i in range(len(embeddings))]
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as writer:
        for one, vector in zip(ids, embeddings, strict=True):
            writer.write(one, vector)
    speakers = SPEAKERS if name == "x" else len(ids)
    lines = [f"{one} {name}-s{i % speakers:04d}\n" for i, one in enumerate(ids)]
    (folder / f"{name}.utt2spk").write_text("".join(lines), encoding="utf-8")
    return ids


def normalised_one_by_one(
    pairs: list[tuple[str, str]], raw: list[float], places: list[dict[str, int]], found: list[tuple]
) -> np.ndarray:
    """The script's loop over the lines of the score file."""
    scores = []
    (enroll_mean, enroll_std), (test_mean, test_std) = found
    for (enroll, test), score in zip(pairs, raw, strict=True):
        row, column = places[0][enroll], places[1][test]
        of_enroll = (score - enroll_mean[row]) / enroll_std[row]
        scores.append(0.5 * (of_enroll + (score - test_mean[column]) / test_std[column]))
    return np.array(scores)


def scaled(sizes: list[int], seconds: list[float], size: int) -> float:
    """The line through two sizes, at ``size``."""
    slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
    return seconds[1] + slope * (size - sizes[1])


def mean_and_std_by_sort(embeddings: np.ndarray, cohort: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    embeddings = embeddings / np.sqrt((embeddings**2).sum(axis=1, keepdims=True))
    cohort = cohort / np.sqrt((cohort**2).sum(axis=1, keepdims=True))
    best = np.sort(np.matmul(embeddings, cohort.T), axis=1)[:, ::-1][:, :TOP]
    return best.mean(axis=1), best.std(axis=1)


WAYS = {"ours": ours, "floor": floor, "full_sort": full_sort}


def run(way: str, threads: int, repetitions: int, disabled: str = "") -> dict[str, np.ndarray]:
    """In a process of its own, so that the threads are as told and the peak is its own.

    :param disabled: numpy's name of vector instructions that it is not to use.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npz"
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        environment |= {"NPY_DISABLE_CPU_FEATURES": disabled} if disabled else {}
        if way == "ours":
            environment["OPENBLAS_NUM_THREADS"] = "1"  # as the command does: its threads take a block each
        command = [sys.executable, __file__, "--way", way, "--repetitions", str(repetitions), "--out", str(out)]
        subprocess.run(command, env=environment, check=True)
        with np.load(out) as found:
            return dict(found)


def compare(threads: int, repetitions: int, disabled: str = "") -> dict[str, float]:
    """Times of the three ways; SystemExit when the scores differ."""
    found = {way: run(way, threads, repetitions, disabled) for way in WAYS}
    chosen = found["full_sort"]["chosen"]
    difference = float(np.abs(found["ours"]["scores"][chosen] - found["full_sort"]["scores"]).max())
    if not difference < TOLERANCE or len(chosen) < 1000:
        sys.exit(f"the two ways differ by {difference} on {len(chosen)} trials: no speed is measured")
    seconds = {way: float(values["seconds"]) for way, values in found.items()}
    return {
        "seconds": seconds["ours"],
        "peak_mb": float(found["ours"]["peak_mb"]),
        "product_seconds": seconds["floor"],
        "full_sort_seconds": seconds["full_sort"],
        "full_sort_loop_seconds": float(found["full_sort"]["loop_seconds"]),
        "speedup_vs_full_sort": seconds["full_sort"] / seconds["ours"],
        "largest_possible_speedup": seconds["full_sort"] / seconds["floor"],
        "first_run_speedup_vs_full_sort": float(found["full_sort"]["first_run"] / found["ours"]["first_run"]),
        "largest_difference": difference,
        "compared_trials": len(chosen),
    }


def measure(quick: bool) -> dict[str, float]:
    """Flat results, keys beginning with ``asnorm_``: with all cores.

    Unless ``quick``, also with one thread (``one_thread``), and as numpy was before 1.25 (``scalar_sort``), without the
    vector instructions that its sort has since then: wespeaker's requirements name 1.20.
    """
    cores = len(os.sched_getaffinity(0))
    results = {"threads": float(cores), **compare(cores, 1 if quick else 3)}
    with tempfile.TemporaryDirectory() as folder:
        results |= of_command(Path(folder))
    if not quick:
        alone = compare(1, 3)
        scalar = compare(cores, 1, " ".join(vector_features()))
        for name, others in (("one_thread", alone), ("scalar_sort", scalar)):
            results |= {f"{name}_{key}": others[key] for key in ("seconds", "product_seconds", "speedup_vs_full_sort")}
    return {f"asnorm_{key}": float(f"{value:.4g}") for key, value in results.items()}


def vector_features() -> list[str]:
    """Names of the instructions that numpy chooses from when it starts."""
    module = np._core._multiarray_umath
    return [name for name in module.__cpu_dispatch__ if module.__cpu_features__.get(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=list(WAYS), required=True)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="npz file to write")
    options = parser.parse_args()
    np.savez(options.out, **WAYS[options.way](options.repetitions))


if __name__ == "__main__":
    main()
