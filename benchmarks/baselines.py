#!/usr/bin/env python3
"""Maps of the same segments from each baseline: how alike they are, and what each costs.

::

    "$IMLKD_PYTHON" benchmarks/baselines.py --data data/train --teacher exp/resemblyzer --json baselines.json
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attribution_models import correlation
from benchmarks.paths import drawn
from imlkd.attribution.baselines import BASELINES, baseline_of
from imlkd.attribution.integrated_gradients import Attribution, IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.store import load_model

BARS = " ▁▂▃▄▅▆▇█"
OTHERS = 40  # utterances that the average is of


def line(found: Attribution, frames: int, columns: int = 50) -> str:
    """The map, its positive part averaged to ``columns``, as bars."""
    values = torch.nn.functional.adaptive_avg_pool1d(found.map[None, None, :frames].clamp(min=0), columns)[0, 0]
    return "".join(BARS[round(float(value / values.max().clamp(min=1e-12)) * (len(BARS) - 1))] for value in values)


def measure(teacher: Path, data: Path, count: int) -> dict[str, float | str]:
    """Prints one segment's maps and a table; its numbers."""
    model = load_model(teacher)
    speech, speakers = SpeechReader(data, model.frontend.sample_rate), read_table(data / "utt2spk")
    segments = drawn(data, count, 1)
    utterances = [
        Utterance(s.id, model.frontend(speech.segment(s)), speakers[s.utterance], s.frames) for s in segments
    ]
    step = max(1, len(speech.names) // OTHERS)
    others = (model.frontend(speech.utterance(name)) for name in speech.names[::step])  # `average` alone reads them
    baselines = {name: baseline_of(name, model, others) for name in BASELINES}
    config = IntegrationConfig(precision="float32", max_nodes=64, policy="keep", rows=64)
    maps, found = {}, {}
    for name, baseline in baselines.items():
        maps[name] = list(IntegratedGradients(model, config, baseline=baseline).explain(utterances))
        over = fmean(not one.converged for one in maps[name])
        nodes, change = fmean(one.nodes for one in maps[name]), median(one.change for one in maps[name])
        print(f"{name:8} {line(maps[name][-1], segments[-1].frames)}  {nodes:.1f} nodes, {over:.0%} over tolerance,"
              f" median change {change:.2f}", flush=True)  # fmt: skip
        found |= {f"{name}_nodes": round(nodes, 2), f"{name}_failing": round(over, 4)}
        found[f"{name}_change"] = round(change, 4)
    for one, other in combinations(baselines, 2):
        pairs = zip(maps[one], maps[other], segments, strict=True)
        alike = median(correlation(a.map[: s.frames], b.map[: s.frames]) for a, b, s in pairs)
        print(f"correlation of {one} with {other}: {alike:.2f} (median)")
        found[f"{one}_{other}_correlation"] = round(alike, 4)
    return {"segments": len(segments), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data directory with features (stage 1)")
    parser.add_argument("--teacher", type=Path, required=True, help="model folder")
    parser.add_argument("--quick", action="store_true", help="2 segments of each duration instead of 12")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.teacher, given.data, 2 if given.quick else 12)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
