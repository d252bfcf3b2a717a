#!/usr/bin/env python3
"""How often a 95 % interval over speakers holds the truth, on simulated populations of 7 to 1,251 speakers.

Each speaker moves its own target scores and its own nontarget scores, so the error rates of the endless population are
known: both kinds of scores are normal. A set has 20 target trials a speaker, and each speaker enrols in --nontargets
others (120), spread evenly over all other speakers or as many of them. Beside the bootstrap over speakers stands the
interval that takes trials for independent draws (Bengio & Mariethoz, "A statistical significance test for person
authentication", Odyssey 2004). The corrected intervals were chosen with --seed 0; any other seed verifies them.
With --difference also how often the interval of a difference holds zero, for two systems that are equally good: half
of what moves a speaker's scores is the same for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing.pool
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np

from imlkd.scoring.compare import compare_systems
from imlkd.scoring.intervals import METHODS, Interval, intervals_of
from imlkd.scoring.metrics import Costs, eer
from imlkd.scoring.resampling import SpeakerTrials, draw_speakers, resample

SPEAKERS = (7, 20, 50, 200, 1251)
COSTS = Costs((0.05, 0.01))
OF_TARGET, OF_NONTARGET = 0.7, 0.5  # deviations between speakers; 1 within
TARGETS, NONTARGETS, DRAWS = 20, 120, 400
MANY = 1000  # speakers from which on there are fewer sets, and no BCa, whose jackknife measures once a speaker
MEASURES = ("eer", *(f"min_dcf_{p_target:g}" for p_target in COSTS.p_targets))
Question = Callable[[tuple[int, "Population", int]], dict[str, bool]]
SEEDS = 1_000_000  # more than there are sets


@dataclass(frozen=True)
class Population:
    """What the sets of a run are drawn from: means of both kinds of scores, and nontarget trials a speaker."""

    separation: float
    nontargets: int

    @cached_property
    def truth(self) -> list[float]:
        """EER and minDCFs, in the order of ``MEASURES``."""
        target = NormalDist(self.separation, (1.0 + OF_TARGET**2) ** 0.5)
        nontarget = NormalDist(0.0, (1.0 + 2.0 * OF_NONTARGET**2) ** 0.5)
        found = [NormalDist().cdf(-self.separation / (target.stdev + nontarget.stdev))]
        thresholds = np.linspace(-3.0, 10.0, 26_001).tolist()
        rates = np.array([(target.cdf(t), 1.0 - nontarget.cdf(t)) for t in thresholds])
        for prior in COSTS.p_targets:
            found.append(float((rates @ [prior, 1.0 - prior]).min() / prior))
        return found


def simulate(speakers: int, population: Population, seed: int, system: int = 0) -> SpeakerTrials:
    """Scores of one set of speakers, drawn from the population; those of another system with ``system`` above 0."""
    generator = np.random.default_rng(seed)
    of_target = generator.normal(0.0, OF_TARGET, speakers)
    of_nontarget = generator.normal(0.0, OF_NONTARGET, speakers)
    if system:
        generator = np.random.default_rng([seed, system])
        of_target = (of_target + generator.normal(0.0, OF_TARGET, speakers)) / 2.0**0.5
        of_nontarget = (of_nontarget + generator.normal(0.0, OF_NONTARGET, speakers)) / 2.0**0.5
    own = np.repeat(np.arange(speakers), TARGETS)
    enroll = np.repeat(np.arange(speakers), population.nontargets)
    test = (enroll + 1 + np.tile(np.arange(population.nontargets) % (speakers - 1), speakers)) % speakers
    target = population.separation + of_target[own] + generator.normal(0.0, 1.0, len(own))
    nontarget = of_nontarget[enroll] + of_nontarget[test] + generator.normal(0.0, 1.0, len(enroll))
    return SpeakerTrials(target, own, nontarget, enroll, test)


def of_trials(trials: SpeakerTrials) -> Interval:
    """The interval that takes trials for independent, normal approximation."""
    rate = eer(trials.target, trials.nontarget).value
    share = 1.0 / len(trials.target) + 1.0 / len(trials.nontarget)
    reach = NormalDist().inv_cdf(0.975) * 0.5 * (rate * (1.0 - rate) * share) ** 0.5
    return Interval(rate - reach, rate + reach)


def holds(task: tuple[int, Population, int]) -> dict[str, bool]:
    """Which intervals of one simulated set hold the truth."""
    speakers, population, seed = task
    trials, expected = simulate(speakers, population, seed), population.truth
    of_draws = seed + 2**40  # the first draws would repeat the random numbers of the speakers
    drawn = resample(trials, draw_speakers(trials.speakers(), DRAWS, of_draws), COSTS).values
    found = {}
    for kind in METHODS:
        if kind == "bca" and speakers >= MANY:
            continue
        for name, interval, value in zip(MEASURES, intervals_of(trials, drawn, COSTS, kind), expected, strict=True):
            found[f"{kind}_{name}"] = interval.low <= value <= interval.high
    naive = of_trials(trials)
    found["of_trials_eer"] = naive.low <= expected[0] <= naive.high
    return found


def holds_zero(task: tuple[int, Population, int]) -> dict[str, bool]:
    """Whether intervals of the difference of two equal systems hold zero, on one simulated set."""
    speakers, population, seed = task
    systems = [[simulate(*task, system)] for system in (1, 2)]
    found = {}
    for kind in ("corrected", "percentile"):
        (one,) = compare_systems(systems, COSTS, DRAWS, seed + 2**40, kind)
        for name, difference in zip(MEASURES, [one.eer, *one.min_dcf.values()], strict=True):
            found[f"{kind}_difference_{name}"] = difference.interval.low <= 0.0 <= difference.interval.high
    return found


def measure(
    pool: multiprocessing.pool.Pool, question: Question, speakers: int, population: Population, seeds: range
) -> dict[str, float]:
    """Share of intervals that hold the truth, by kind and measure; standard error of 95 %."""
    started = time.perf_counter()
    found = pool.map(question, [(speakers, population, seed) for seed in seeds], chunksize=4)
    results = {"sets": len(seeds), "standard_error": (0.95 * 0.05 / len(seeds)) ** 0.5}
    results |= {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    results["seconds"] = time.perf_counter() - started
    return {f"coverage_{speakers}_{name}": float(f"{value:.4g}") for name, value in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 sets of each size instead of 1,000, or 400 of 1,251")
    parser.add_argument("--sets", type=int, help="so many sets of each size instead")
    parser.add_argument("--seed", type=int, default=1, help="of the sets (default: 1)")
    parser.add_argument("--separation", type=float, default=2.5, help="of the means of both kinds of scores (2.5)")
    parser.add_argument("--difference", action="store_true", help="also of the difference of two equal systems")
    parser.add_argument("--nontargets", type=int, default=NONTARGETS, help="nontarget trials a speaker enrols in")
    parser.add_argument("--speakers", type=int, action="append", help="only this number of speakers; repeatable")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    population = Population(options.separation, options.nontargets)
    results: dict[str, float] = {"draws": DRAWS, "seed": options.seed, **dataclasses.asdict(population)}
    results |= {f"true_{name}": round(value, 5) for name, value in zip(MEASURES, population.truth, strict=True)}
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        for speakers in options.speakers or SPEAKERS:
            sets = options.sets or (100 if options.quick else 1000 if speakers < MANY else 400)
            seeds = range(options.seed * SEEDS, options.seed * SEEDS + sets)
            for question in (holds, holds_zero)[: 1 + options.difference]:
                results |= measure(pool, question, speakers, population, seeds)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    for key, value in results.items():
        print(f"{key:36} {value}")


if __name__ == "__main__":
    main()
