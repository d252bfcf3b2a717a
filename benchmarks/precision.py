#!/usr/bin/env python3
"""Where bf16's noise enters a residual TDNN: completeness and maps with one part after the other in bf16.

::

    "$IMLKD_PYTHON" benchmarks/precision.py --data data/train --teacher exp/tdnn --json precision.json

Each line is what the engine would do with that part rounded: gradients at 17 nodes, the change of the cosine in fp32
but in the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import imlkd.models.tdnn as tdnn
from benchmarks.attribution_models import correlation
from benchmarks.paths import drawn
from imlkd.attribution.baselines import mean_frame
from imlkd.attribution.gradients import TeacherFunction
from imlkd.attribution.quantities import TargetCosine
from imlkd.attribution.rules import nodes_and_weights
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput
from imlkd.models.store import load_model

NODES = 16
CHANGE = "everything, the change of the cosine too"
Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]


@contextmanager
def statistics_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Mean and deviation over time from frames, and in arithmetic, of this precision; None: as they come."""
    known = tdnn.pooled_statistics
    if dtype is not None:
        tdnn.pooled_statistics = lambda frames, mask: known(frames.to(dtype), mask.to(dtype)).float()
    try:
        yield
    finally:
        tdnn.pooled_statistics = known


def variants(model: SpeakerModel) -> dict[str, Gradient]:
    """By what is in bf16."""
    function = TeacherFunction(model, TargetCosine())

    def engine(half: bool) -> Gradient:
        return lambda points, lengths, targets: function.gradient(points, lengths, targets, half)[1]

    def with_statistics(dtype: torch.dtype, inner: Gradient) -> Gradient:
        def gradient(points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
            with statistics_in(dtype):
                return inner(points, lengths, targets)

        return gradient

    def autocast(stream: torch.dtype) -> Gradient:
        """All that autocast takes, the last layers too; frames that are not its own in ``stream``."""

        def gradient(points: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
            points.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                output: SpeakerOutput = function.model(points.to(stream), lengths)
                value = TargetCosine()(output, targets).sum()
            return torch.autograd.grad(value, points)[0]

        return gradient

    return {
        "nothing": engine(False),
        "convolutions (the engine's bf16)": engine(True),
        "convolutions, statistics": with_statistics(torch.bfloat16, engine(True)),
        "convolutions, last layers": autocast(torch.float32),
        "convolutions, last layers, residual stream": with_statistics(torch.float32, autocast(torch.bfloat16)),
        "everything": autocast(torch.bfloat16),
        CHANGE: autocast(torch.bfloat16),
    }


def measure(teacher: Path, data: Path, count: int) -> dict[str, float | str]:
    """Prints a table; its numbers."""
    model = load_model(teacher)
    speech, speakers = SpeechReader(data, model.frontend.sample_rate), read_table(data / "utt2spk")
    alphas, weights = (torch.from_numpy(part).float() for part in nodes_and_weights("clenshaw-curtis", NODES))
    segments, found = drawn(data, count, 1), {}
    assert model.head is not None
    print("| in bf16 | median error | worst error | correlation of maps, lowest |\n|---|---|---|---|")
    exact: dict[str, Tensor] = {}
    for name, gradient in variants(model).items():
        errors, alike = [], []
        for segment in segments:
            x = model.frontend(speech.segment(segment))
            target, start = model.head.speakers.index(speakers[segment.utterance]), mean_frame(x, segment.frames)
            points = start + alphas[:, None, None] * (x - start)
            rows = (torch.full((len(points),), len(x)), torch.full((len(points),), target))
            map_ = ((x - start) * torch.tensordot(weights, gradient(points, *rows).float(), dims=1)).sum(1)
            stream, half = (torch.bfloat16, True) if name == CHANGE else (torch.float32, False)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                ends = model(torch.stack([start, x]).to(stream), rows[0][:2]).cosines
            assert ends is not None
            change = float(ends[1, target] - ends[0, target])
            errors.append(abs(float(map_.double().sum()) - change) / abs(change))
            alike.append(correlation(map_, exact.setdefault(segment.id, map_)))
        print(f"| {name} | {median(errors):.1%} | {max(errors):.1%} | {min(alike):.5f} |", flush=True)
        key = "".join(c if c.isalnum() else "_" for c in name.replace("'", ""))
        found |= {f"{key}_error": round(float(np.median(errors)), 5), f"{key}_correlation": round(min(alike), 5)}
    return {"segments": len(segments), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data directory with features (stage 1)")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of a model `tdnn`")
    parser.add_argument("--quick", action="store_true", help="4 segments of each duration instead of 12")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.teacher, given.data, 4 if given.quick else 12)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
