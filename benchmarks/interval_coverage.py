#!/usr/bin/env python3
"""How often a 95 % interval over speakers holds the truth, on simulated populations of 7 to 1,251 speakers.

Each speaker moves its own target scores and its own nontarget scores, so the error rates of the endless population are
known: both kinds of scores are normal. A set has 20 target trials a speaker, and each speaker enrols in --nontargets
others (120), spread evenly over all other speakers or as many of them. Beside the bootstrap over speakers stands the
interval that takes trials for independent draws (Bengio & Mariethoz, "A statistical significance test for person
authentication", Odyssey 2004).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing.pool
import os
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np

from imlkd.scoring.intervals import Interval, intervals_of
from imlkd.scoring.metrics import Costs, eer
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers, resample

SPEAKERS = (7, 20, 50, 200, 1251)
COSTS = Costs((0.05,))
SEPARATION, OF_TARGET, OF_NONTARGET = 2.5, 0.7, 0.5  # of the means; deviations between speakers, 1 within
TARGETS, NONTARGETS, DRAWS = 20, 120, 400
MANY = 1000  # speakers from which on there are fewer sets, and no BCa, whose jackknife measures once a speaker
KINDS = ("percentile", "bca")
MEASURES = ("eer", "min_dcf")


def simulate(speakers: int, nontargets: int, seed: int) -> SpeakerTrials:
    """Scores of one set of speakers, drawn from the population."""
    generator = np.random.default_rng(seed)
    of_target = generator.normal(0.0, OF_TARGET, speakers)
    of_nontarget = generator.normal(0.0, OF_NONTARGET, speakers)
    own = np.repeat(np.arange(speakers), TARGETS)
    enroll = np.repeat(np.arange(speakers), nontargets)
    test = (enroll + 1 + np.tile(np.arange(nontargets) % (speakers - 1), speakers)) % speakers
    target = SEPARATION + of_target[own] + generator.normal(0.0, 1.0, len(own))
    nontarget = of_nontarget[enroll] + of_nontarget[test] + generator.normal(0.0, 1.0, len(enroll))
    return SpeakerTrials(target, own, nontarget, enroll, test)


def truth() -> tuple[float, float]:
    """EER and minDCF of the population."""
    target = NormalDist(SEPARATION, (1.0 + OF_TARGET**2) ** 0.5)
    nontarget = NormalDist(0.0, (1.0 + 2.0 * OF_NONTARGET**2) ** 0.5)
    rate = NormalDist().cdf(-SEPARATION / (target.stdev + nontarget.stdev))
    prior = COSTS.p_targets[0]
    thresholds = np.linspace(-3.0, 8.0, 20_001).tolist()
    costs = [(prior * target.cdf(t) + (1.0 - prior) * (1.0 - nontarget.cdf(t))) / prior for t in thresholds]
    return rate, min(costs)


def of_trials(trials: SpeakerTrials) -> Interval:
    """The interval that takes trials for independent, normal approximation."""
    rate = eer(trials.target, trials.nontarget).value
    share = 1.0 / len(trials.target) + 1.0 / len(trials.nontarget)
    reach = NormalDist().inv_cdf(0.975) * 0.5 * (rate * (1.0 - rate) * share) ** 0.5
    return Interval(rate - reach, rate + reach)


def holds(task: tuple[int, int, int]) -> dict[str, bool]:
    """Which intervals of one simulated set hold the truth."""
    speakers, nontargets, seed = task
    trials, expected = simulate(speakers, nontargets, seed), TRUTH
    drawn = resample(trials, draw_speakers(trials.speakers(), DRAWS, seed), COSTS).values
    found = {}
    for kind in KINDS if speakers < MANY else KINDS[:1]:
        for name, interval, value in zip(MEASURES, intervals_of(trials, drawn, COSTS, kind), expected, strict=True):
            found[f"{kind}_{name}"] = interval.low <= value <= interval.high
    naive = of_trials(trials)
    found["of_trials_eer"] = naive.low <= expected[0] <= naive.high
    return found


TRUTH = truth()


def measure(pool: multiprocessing.pool.Pool, quick: bool, speakers: int, nontargets: int) -> dict[str, float]:
    """Share of intervals that hold the truth, by kind and measure; standard error of 95 %."""
    started = time.perf_counter()
    sets = 100 if quick else 1000 if speakers < MANY else 400
    found = pool.map(holds, [(speakers, nontargets, seed) for seed in range(sets)], chunksize=4)
    results = {"standard_error": (0.95 * 0.05 / sets) ** 0.5}
    results |= {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    results["seconds"] = time.perf_counter() - started
    return {f"coverage_{speakers}_{name}": float(f"{value:.4g}") for name, value in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 sets of each size instead of 1,000 or 400")
    parser.add_argument("--nontargets", type=int, default=NONTARGETS, help="nontarget trials a speaker enrols in")
    parser.add_argument("--speakers", type=int, action="append", help="only this number of speakers; repeatable")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    results: dict[str, float] = {
        "draws": DRAWS, "nontargets": options.nontargets, "true_eer": round(TRUTH[0], 5),
        "true_min_dcf": round(TRUTH[1], 5),
    }  # fmt: skip
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        for speakers in options.speakers or SPEAKERS:
            results |= measure(pool, options.quick, speakers, options.nontargets)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    for key, value in results.items():
        print(f"{key:36} {value}")


if __name__ == "__main__":
    main()
