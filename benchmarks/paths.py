"""Path, rule and nodes of Integrated Gradients, decided by measurement: how many maps of a teacher miss the tolerance.

::

    "$IMLKD_PYTHON" benchmarks/paths.py --data data/train --teacher exp/resemblyzer --json paths.json

Segments of 1, 2 and 3 s are drawn from a data directory with features. For each path, rule, power (alpha = u^p) and
number of nodes: the share over the tolerance at these nodes, and the mean gradients and the share still over it when
they rise to ``--max-nodes``. Each path is visited at 129 places, and the rules read it from cubic splines through them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from imlkd.attribution.convergence import SMALLEST_CHANGE
from imlkd.attribution.integrals import Integral, Rungs, Subdivision
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.rules import ADAPTIVE, FIXED, PATTERSON, Floats, ladder
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.store import load_model

DURATIONS = (100, 200, 300)  # frames
WARPS = {"features": 1.0, "power": 4.0}  # a path in power is steep near the baseline
PATHS, RULES, POWERS, NODES = tuple(WARPS), (ADAPTIVE, *FIXED), (1.0, 2.0, 4.0), (4, 8, 16)
PLACES = 128
TOLERANCE = 0.05


@dataclass(frozen=True)
class Profile:
    """F and dF/dalpha along the path of one utterance, at even places of u, with alpha = u^warp."""

    values: Floats
    slopes: Floats
    warp: float

    @classmethod
    def of(cls, engine: IntegratedGradients, utterance: Utterance, warp: float) -> Profile:
        alphas = (np.arange(PLACES + 1) / PLACES) ** warp
        values, slopes = engine.slopes(utterance, alphas.tolist())
        return cls(np.array(values), np.array(slopes), warp)

    def at(self, alphas: list[float]) -> tuple[Floats, Floats]:
        """F and dF/dalpha anywhere, by cubic splines over u."""
        even, places = np.arange(PLACES + 1) / PLACES, np.array(alphas) ** (1 / self.warp)
        values, slopes = (CubicSpline(even, known)(places) for known in (self.values, self.slopes))
        return values, slopes

    @property
    def change(self) -> float:
        return float(self.values[-1] - self.values[0])

    def rounds(self, integral: Integral) -> Iterator[float]:
        """Relative error after each round of nodes."""
        while ahead := integral.ahead():
            values, slopes = self.at(ahead)
            integral.add(ahead, values.tolist(), torch.from_numpy(slopes)[:, None])
            yield abs(integral.sum() - self.change) / max(abs(self.change), SMALLEST_CHANGE)


def row(profiles: list[Profile], rule: str, power: float, nodes: int, most: int) -> tuple[float, float, float]:
    """Share over the tolerance at the first nodes; mean gradients and share over it when they rise."""
    ended, at_first = [], []
    for profile in profiles:
        begun = Subdivision(nodes, most, power) if rule == ADAPTIVE else Rungs(ladder(rule, nodes, most, power))
        error = 0.0
        for error in profile.rounds(begun):
            at_first += [error > TOLERANCE] if len(at_first) == len(ended) else []
            if error <= TOLERANCE:
                break
        ended.append((begun.gradients, error > TOLERANCE))
    return fmean(at_first), fmean(count for count, _ in ended), fmean(over for _, over in ended)


def drawn(data: Path, count: int, seed: int) -> list[Segment]:
    """``count`` segments of each duration, from utterances that are long enough."""
    generator, frames = random.Random(seed), read_table(data / "utt2num_frames")
    found = []
    for length in DURATIONS:
        names = generator.sample(sorted(name for name, n in frames.items() if int(n) >= length), count)
        found += [Segment(name, generator.randint(0, int(frames[name]) - length), length) for name in names]
    return found


def profiles_of(teacher: Path, data: Path, path: str, segments: list[Segment]) -> tuple[list[Profile], float]:
    """Profiles of all segments, and milliseconds a gradient."""
    model = load_model(teacher)
    speech, speakers = SpeechReader(data, model.frontend.sample_rate), read_table(data / "utt2spk")
    engine = IntegratedGradients(model, IntegrationConfig(path=path, precision="float32", rows=64))
    found, started = [], time.perf_counter()
    for segment in segments:
        features = model.frontend(speech.segment(segment))
        utterance = Utterance(segment.id, features, speakers[segment.utterance], segment.frames)
        found.append(Profile.of(engine, utterance, WARPS[path]))
    return found, 1e3 * (time.perf_counter() - started) / (len(segments) * (PLACES + 1))


def table(name: str, path: str, profiles: list[Profile], gradient: float, most: int) -> dict[str, float | str]:
    """All rows of one path, printed."""
    change = median(abs(profile.change) for profile in profiles)
    print(f"\n{name}, path straight in {path}: {len(profiles)} segments, median change of the cosine {change:.2f},"
          f" {gradient:.1f} ms a gradient\n\n| rule | power | nodes | over 5 % | mean nodes, rising | over 5 % then"
          " | ms a map |\n|---|---|---|---|---|---|---|")  # fmt: skip
    found: dict[str, float | str] = {"segments": len(profiles), "ms_a_gradient": round(gradient, 3)}
    for rule in RULES:
        for power in POWERS:
            for nodes in (n - (rule == PATTERSON) for n in NODES):  # 3, 7, 15 of those
                first, mean, rest = row(profiles, rule, power, nodes, most)
                cells = (rule, f"{power:g}", nodes, f"{first:.0%}", f"{mean:.1f}", f"{rest:.0%}")
                print(f"| {' | '.join(map(str, cells))} | {mean * gradient:.0f} |", flush=True)
                key = f"{rule}_{power:g}_{nodes}".replace("-", "_")
                found |= {f"{key}_over": round(first, 4), f"{key}_nodes": round(mean, 2)}
                found[f"{key}_failing"] = round(rest, 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data directory with features (stage 1)")
    parser.add_argument("--teacher", type=Path, required=True, action="append", help="model folder; may be given again")
    parser.add_argument("--segments", type=int, default=12, help="of each duration")
    parser.add_argument("--max-nodes", type=int, default=64, help="that nodes may rise to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="4 segments of each duration, nodes up to 32")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    count, most = (4, 32) if given.quick else (given.segments, given.max_nodes)
    found: dict[str, float | str] = {}
    for teacher in given.teacher:
        for path in PATHS:
            profiles, gradient = profiles_of(teacher, given.data, path, drawn(given.data, count, given.seed))
            rows = table(teacher.name, path, profiles, gradient, most)
            found |= {f"{teacher.name}_{path}_{key}": value for key, value in rows.items()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
