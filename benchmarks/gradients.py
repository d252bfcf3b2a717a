#!/usr/bin/env python3
"""What the engine does about a gradient's time, taken away piece by piece: processor milliseconds of each network.

::

    "$IMLKD_PYTHON" benchmarks/gradients.py --json gradients.json

A gradient of 2 s in batches of 8, one thread, processor time, the lowest of several rounds in turns: a machine that
others use too measures the same. Drawn weights; ``$SVMINI``'s voices or synthetic ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attribution_models import network, waveforms
from imlkd.attribution.folding import folded
from imlkd.attribution.gradients import TeacherFunction
from imlkd.attribution.quantities import TargetCosine
from imlkd.models.speaker_model import SpeakerModel

ROWS = 8
NETWORKS = {"tdnn": 512, "ecapa": 512, "resnet": 32, "ge2e": 0}  # channels
WITHOUT = ("engine", "own_layers", "nor_folded", "nor_frozen", "nor_batched")  # each lacks one thing more
BESIDE = "bf16"
Gradient = Callable[[Tensor, Tensor, Tensor], object]


def variants(model: SpeakerModel) -> dict[str, Gradient]:
    """By name, of ``WITHOUT`` and ``BESIDE``; ``own_layers`` are neither fused nor channels last."""
    quantity = TargetCosine()
    engine = TeacherFunction(model, quantity)
    plain = TeacherFunction(model, quantity, fold=False)
    unfrozen = copy.deepcopy(model).eval().requires_grad_()

    def with_parameters(points: Tensor, lengths: Tensor, targets: Tensor) -> None:
        quantity(unfrozen(points.requires_grad_(), lengths), targets).sum().backward()

    def one_by_one(points: Tensor, lengths: Tensor, targets: Tensor) -> None:
        for row in range(len(points)):
            with_parameters(*(part[row : row + 1].clone() for part in (points, lengths, targets)))

    def full(function: TeacherFunction) -> Gradient:
        return lambda points, lengths, targets: function.gradient(points, lengths, targets, half=False)

    own = TeacherFunction(folded(model)[0], quantity, fold=False)
    found = dict(zip(WITHOUT, (full(engine), full(own), full(plain), with_parameters, one_by_one), strict=True))
    found[BESIDE] = lambda points, lengths, targets: engine.gradient(points, lengths, targets, half=True)
    return found


def measure(name: str, channels: int, rounds: int) -> dict[str, float]:
    """Processor milliseconds of a gradient, by variant; all the same gradient but for bf16."""
    voices = waveforms(ROWS)
    model = network(name, channels, voices)
    features = torch.stack([model.frontend(pair[0]) for pair in voices])
    rows = (torch.full((ROWS,), features.shape[1]), torch.arange(ROWS))
    best: dict[str, float] = {}
    tried = variants(model)
    for _ in range(rounds):
        for key, gradient in tried.items():
            points = features.clone()
            started = time.process_time()
            gradient(points, *rows)
            taken = 1e3 * (time.process_time() - started) / ROWS
            best[key] = min(taken, best.get(key, taken))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds instead of 5")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    columns = (*WITHOUT, BESIDE)
    print(f"| network | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name, channels in NETWORKS.items():
        best = measure(name, channels, 2 if given.quick else 5)
        print(f"| {name} | {' | '.join(f'{best[key]:.1f}' for key in columns)} |", flush=True)
        found |= {f"{name}_{key}_cpu_ms": round(value, 2) for key, value in best.items()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
