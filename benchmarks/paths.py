"""Path, rule and nodes of Integrated Gradients, decided by measurement: how many maps of a teacher miss the tolerance.

::

    "$IMLKD_PYTHON" benchmarks/paths.py --data data/train --teacher exp/resemblyzer --json paths.json

Segments of 1, 2 and 3 s are drawn from a data directory of stage 0. For each path, rule, power (alpha = u^p) and number
of nodes: the share over the tolerance at these nodes, and the mean nodes and the share still over it when they rise to
``--max-nodes``. Each place of a path is visited once, whichever rules want it. Milliseconds are those of this machine.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median

import torch

from imlkd.attribution.integrals import Integral, Rungs, Subdivision
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.rules import ADAPTIVE, FIXED, ladder
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.store import load_model

DURATIONS = (100, 200, 300)  # frames
PATHS, RULES, POWERS, NODES = ("features", "power"), (ADAPTIVE, *FIXED), (1.0, 2.0, 4.0), (8, 16)
TOLERANCE = 0.05


class Profile:
    """F and dF/dalpha along the path of one utterance, each place computed once."""

    def __init__(self, engine: IntegratedGradients, utterance: Utterance) -> None:
        self.engine, self.utterance = engine, utterance
        self.known: dict[int, tuple[float, float]] = {}
        self.seconds = 0.0

    def at(self, alphas: list[float]) -> list[tuple[float, float]]:
        """(F, dF/dalpha) at places of the path."""
        fresh = [alpha for alpha in alphas if _key(alpha) not in self.known]
        started = time.perf_counter()
        values, slopes = self.engine.slopes(self.utterance, fresh) if fresh else ([], [])
        self.seconds += time.perf_counter() - started
        self.known |= {_key(a): found for a, *found in zip(fresh, values, slopes, strict=True)}  # type: ignore[misc]
        return [self.known[_key(alpha)] for alpha in alphas]

    def rounds(self, integral: Integral) -> Iterator[tuple[int, float]]:
        """Gradients so far and relative error, after each round of nodes."""
        (first, _), (last, _) = self.at([0.0, 1.0])
        while ahead := integral.ahead():
            values, slopes = zip(*self.at(ahead), strict=True)
            integral.add(ahead, values, torch.tensor(slopes, dtype=torch.float64)[:, None])
            yield integral.gradients, abs(integral.sum() - (last - first)) / max(abs(last - first), 1e-3)


def _key(alpha: float) -> int:
    return round(alpha * 2**44)


def row(profiles: list[Profile], rule: str, power: float, nodes: int, most: int) -> tuple[float, float, float]:
    """Share over the tolerance at the first nodes; mean gradients and share over it when they rise."""
    ended, at_first = [], []
    for profile in profiles:
        begun = Subdivision(nodes, most, power) if rule == ADAPTIVE else Rungs(ladder(rule, nodes, most, power))
        error = 0.0
        for _, error in profile.rounds(begun):
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


def measure(teacher: Path, data: Path, count: int, most: int, seed: int) -> dict[str, float | str]:
    """All rows of one teacher, printed as they come."""
    model = load_model(teacher)
    speech, speakers = SpeechReader(data, model.frontend.sample_rate), read_table(data / "utt2spk")
    segments = drawn(data, count, seed)
    found: dict[str, float | str] = {"segments": len(segments), "threads": torch.get_num_threads()}
    print(f"\n{teacher.name}: {len(segments)} segments\n\n| path | rule | power | nodes | over 5 % | mean nodes, rising"
          " | over 5 % then | ms a map |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for path in PATHS:
        engine = IntegratedGradients(model, IntegrationConfig(path=path, precision="float32", rows=64))
        profiles = [
            Profile(engine, Utterance(s.id, model.frontend(speech.segment(s)), speakers[s.utterance], s.frames))
            for s in segments
        ]
        rows = {}
        for rule in RULES:
            for power in POWERS if path == "features" or rule in (ADAPTIVE, "gauss-legendre") else (1.0, 4.0):
                for nodes in NODES:
                    rows[rule, power, nodes] = row(profiles, rule, power, nodes, most)
        gradient = 1e3 * sum(p.seconds for p in profiles) / sum(len(p.known) for p in profiles)
        found[f"ms_a_gradient_{path}"] = round(gradient, 3)
        for (rule, power, nodes), (first, mean, rest) in rows.items():
            cells = (path, rule, f"{power:g}", nodes, f"{first:.0%}", f"{mean:.1f}", f"{rest:.0%}")
            print(f"| {' | '.join(map(str, cells))} | {mean * gradient:.0f} |")
            key = f"{path}_{rule}_{power:g}_{nodes}".replace("-", "_")
            found |= {f"{key}_over": round(first, 4), f"{key}_nodes": round(mean, 2), f"{key}_failing": round(rest, 4)}
        print(f"(median change of the cosine {median(abs(_change(p)) for p in profiles):.2f},"
              f" {gradient:.1f} ms a gradient)", flush=True)  # fmt: skip
    return found


def _change(profile: Profile) -> float:
    (first, _), (last, _) = profile.at([0.0, 1.0])
    return last - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data directory with features (stage 1)")
    parser.add_argument("--teacher", type=Path, required=True, action="append", help="model folder; may be given again")
    parser.add_argument("--segments", type=int, default=12, help="of each duration")
    parser.add_argument("--max-nodes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="4 segments of each duration, nodes up to 32")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    count, most = (4, 32) if given.quick else (given.segments, given.max_nodes)
    found: dict[str, float | str] = {}
    for teacher in given.teacher:
        rows = measure(teacher, given.data, count, most, given.seed)
        found |= {f"{teacher.name}_{key}": value for key, value in rows.items()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
