#!/usr/bin/env python3
"""Integrated Gradients of an ECAPA-TDNN (C=512, 2 s): the engine beside captum and plain loops, quality first.

Everything runs in one process on the same model and utterances, interleaved; times are medians, with their spread. The
bounds of the project hold for the two ``speedup`` keys, ``matrix_rate_share`` and the two peaks of memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from captum.attr import IntegratedGradients as Captum
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attribution_models import (
    cache_bandwidth,
    correlation,
    network,
    profile,
    timed,
    waveforms,
)
from imlkd.attribution.gradients import TeacherFunction, has_compiler, matrix_rate
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.quantities import TargetCosine
from imlkd.export.measure import peak_memory
from imlkd.models.speaker_model import SpeakerModel

ENGINE = IntegrationConfig(precision="bfloat16", rule="gauss-legendre", nodes=10, rows=16)  # completes at once here
ROUGH = IntegrationConfig(precision="bfloat16", nodes=8, rows=16)  # the recurrent GE2E
TOLERANCE = ENGINE.tolerance
NODES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 50)
INTERNAL_BATCHES = (2, 4, 8, 16)
GOALS = ("speedup_vs_captum_default", "speedup_vs_captum_equal_quality", "matrix_rate_share",
         "peak_mb_small", "peak_mb_large")  # fmt: skip
ALIKE = 5e-4  # of correlation: what of it counts as the same quality


@dataclass
class Found:
    """Maps (T,) of one contender, and its relative errors where it knows them."""

    maps: list[Tensor]
    nodes: float


class Contest:
    """A model, its utterances, and what may explain them."""

    def __init__(self, name: str, channels: int, count: int) -> None:
        voices = waveforms(max(count, 8))
        self.model = network(name, channels, voices)
        self.features = [self.model.frontend(pair[0]) for pair in voices[:count]]

    def utterances(self) -> Iterator[Utterance]:
        for index, features in enumerate(self.features):
            yield Utterance(str(index), features, index)

    def captum(self, steps: int, internal: int | None, half: bool = False) -> Found:
        """Captum, an utterance at a time; ``internal`` None: all nodes at once, its default."""
        maps = []
        for index, x in enumerate(self.features):
            function = self._function(self.model, index, half)
            baseline = x.mean(0, keepdim=True).expand_as(x)[None]
            found = Captum(function).attribute(x[None], baseline, n_steps=steps, internal_batch_size=internal)
            maps.append(found[0].sum(1))
        return Found(maps, steps)

    def loop(self, steps: int, half: bool) -> Found:
        """What one writes by hand: Gauss-Legendre nodes of an utterance as a batch, one backward pass."""
        places, weights = np.polynomial.legendre.leggauss(steps)
        alphas, weights = torch.from_numpy((places + 1) / 2).float(), torch.from_numpy(weights / 2).float()
        maps = []
        for index, x in enumerate(self.features):
            baseline = x.mean(0, keepdim=True)
            points = (baseline + alphas[:, None, None] * (x - baseline)).requires_grad_()
            gradient = torch.autograd.grad(self._function(self.model, index, half)(points).sum(), points)[0]
            maps.append(((x - baseline) * torch.tensordot(weights, gradient, dims=1)).sum(1))
        return Found(maps, steps)

    def engine(self, engine: IntegratedGradients) -> Found:
        found = list(engine.explain(self.utterances()))
        return Found([one.map for one in found], fmean(one.gradients for one in found))

    def _function(self, model: SpeakerModel, index: int, half: bool) -> Callable[[Tensor], Tensor]:
        def function(points: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                cosines = model(points, torch.full((len(points),), points.shape[1])).cosines
            return cosines[:, index].float()  # type: ignore[index]

        return function

    def reference(self, nodes: int) -> Found:
        """Gauss-Legendre in float64."""
        config = IntegrationConfig(rule="gauss-legendre", nodes=nodes, max_nodes=nodes, tolerance=10.0, rows=4)
        double = IntegratedGradients(copy.deepcopy(self.model).double(), config)
        found = double.explain(replace(one, features=one.features.double()) for one in self.utterances())
        return Found([one.map for one in found], nodes)


def quality(found: Found, reference: Found) -> tuple[float, float]:
    """Lowest correlation with the reference, and the largest relative error of a sum (the reference's is exact)."""
    pairs = list(zip(found.maps, reference.maps, strict=True))
    errors = [abs(float(a.double().sum() - b.sum())) / max(abs(float(b.sum())), 1e-3) for a, b in pairs]
    return min(correlation(a, b) for a, b in pairs), max(errors)


def fewest(contest: Contest, reference: Found, wanted: tuple[float, float], half: bool) -> int:
    """Captum's fewest nodes that reach a quality, or the tolerance where that is wider; the most where none does."""
    for nodes in NODES:
        like, error = quality(contest.captum(nodes, 8, half), reference)
        if like >= wanted[0] - ALIKE and error <= max(wanted[1], TOLERANCE):
            return nodes
    return NODES[-1]


def best_internal(contest: Contest, nodes: int, half: bool) -> int | None:
    """The fastest internal batch of captum."""
    sizes = [None, *(size for size in INTERNAL_BATCHES if size < nodes)]


    def seconds(size: int | None) -> float:
        return min(timed(lambda: contest.captum(nodes, size, half)) for _ in range(2))

    return min(sizes, key=seconds)


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repetitions: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each, in turns, and the fewest of the processor's."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    busy: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, work in contenders.items():
            started = time.process_time()
            taken[name].append(timed(work))
            busy[name].append(time.process_time() - started)
    return taken, {name: min(times) for name, times in busy.items()}


def contest(name: str, channels: int, count: int, repetitions: int, exact: int, compiles: bool) -> dict[str, float]:
    """Quality and speed on one network; keys without the network's name."""
    given = Contest(name, channels, count)
    reference = given.reference(exact)
    config = ROUGH if name == "ge2e" else ENGINE
    engines = {"engine": IntegratedGradients(given.model, config)}
    engines["engine_fp32"] = IntegratedGradients(given.model, replace(config, precision="float32"))
    if compiles:
        engines["engine_compiled"] = IntegratedGradients(given.model, replace(config, compile=True))
    found = {key: given.engine(engine) for key, engine in engines.items()}
    wanted = quality(found["engine"], reference)
    steps, half_steps = fewest(given, reference, wanted, False), fewest(given, reference, wanted, True)
    internal, half_internal = best_internal(given, steps, False), best_internal(given, half_steps, True)
    loops = max(4, round(found["engine"].nodes))
    work: dict[str, Callable[[], Found]] = {key: partial(given.engine, engine) for key, engine in engines.items()}
    work |= {
        "captum_default": lambda: given.captum(50, None),
        "captum_equal": lambda: given.captum(steps, internal),
        "captum_equal_bf16": lambda: given.captum(half_steps, half_internal, True),
        "loop": lambda: given.loop(loops, False),
        "loop_bf16": lambda: given.loop(loops, True),
    }
    maps = {key: found[key] if key in found else one() for key, one in work.items()}
    taken, busy = interleaved(work, repetitions)
    result: dict[str, float] = {"captum_equal_internal_batch": internal or steps}
    print(f"\n{name}, {count} utterances of 2 s")
    print(f"{'':20}{'correlation':>12}{'error':>8}{'nodes':>7}{'s/utt':>9}{'cpu s/utt':>11}   spread")
    for key, times in taken.items():
        one = maps[key]
        like, error = quality(one, reference)
        seconds, low, high = (f(times) / count for f in (median, min, max))
        print(f"{key:20}{like:12.5f}{error:8.1%}{one.nodes:7.1f}{seconds:9.4f}{busy[key] / count:11.4f}"
              f"   {low:.4f} to {high:.4f}", flush=True)  # fmt: skip
        result |= {f"{key}_correlation": like, f"{key}_error": error}
        result |= {f"{key}_nodes": one.nodes, f"{key}_seconds": seconds, f"{key}_cpu_seconds": busy[key] / count}
    best = median(taken["engine"])
    for other in ("default", "equal"):
        result[f"cpu_speedup_vs_captum_{other}"] = busy[f"captum_{other}"] / busy["engine"]
    result["speedup_vs_captum_default"] = median(taken["captum_default"]) / best
    result["speedup_vs_captum_equal_quality"] = median(taken["captum_equal"]) / best
    result["speedup_vs_captum_equal_quality_bf16"] = median(taken["captum_equal_bf16"]) / best
    return result


def share(channels: int, result: dict[str, float], rates: dict[str, float]) -> float:
    """Multiply-adds of the products that the engine's gradients need, a second, over the faster matrix rate."""
    given = Contest("ecapa", channels, 8)
    steps = profile(IntegratedGradients(given.model, ENGINE).function, torch.stack(given.features), True, 1)
    macs = sum(step.macs for step in steps) / 8 * result["engine_nodes"]
    return macs / result["engine_seconds"] / max(rates.values())


def show_roofline(channels: int) -> dict[str, float]:
    """Where the time of one gradient goes, product by product, beside what this machine allows; one thread."""
    given = Contest("ecapa", channels, 8)
    function = IntegratedGradients(given.model, ENGINE).function
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rate, bandwidth = matrix_rate(torch.bfloat16, clock=time.thread_time), cache_bandwidth()
    torch.set_num_threads(threads)
    steps = profile(function, torch.stack(given.features), True)
    whole = sum(step.seconds for step in steps)
    print(f"\none gradient of 2 s in bf16, batches of 8, one thread: {1e3 * whole / 8:.1f} ms; matrix rate"
          f" {2 * rate / 1e9:.0f} GFLOP/s, copies in cache {bandwidth / 1e9:.1f} GB/s\n"
          f"{'operation':42}{'times':>6}{'MMAC':>8}{'ms':>8}{'bound ms':>10}{'share':>7}")  # fmt: skip
    for step in sorted(steps, key=lambda one: (not one.product, -one.seconds)):
        if step.seconds > 0.005 * whole:
            bound = 1e3 * step.bound(rate, bandwidth) / 8
            print(f"{f'{step.name} {step.product}':42}{step.count:6}{step.macs / 8e6:8.1f}"
                  f"{1e3 * step.seconds / 8:8.2f}{bound:10.2f}{step.seconds / whole:7.0%}")  # fmt: skip
    products = sum(step.seconds for step in steps if step.product)
    ideal = sum(step.macs for step in steps) / rate
    bound = sum(step.bound(rate, bandwidth) for step in steps)
    rest = whole - products
    print(f"{'elementwise, statistics, casts':56}{1e3 * rest / 8:8.2f}{'':10}{rest / whole:7.0%}\n"
          f"{'limit: all products at the matrix rate':56}{1e3 * ideal / 8:8.2f}\n"
          f"{'limit: each step at the rate or the bandwidth':56}{1e3 * bound / 8:8.2f}", flush=True)  # fmt: skip
    return {
        "roofline_gradient_cpu_ms": 1e3 * whole / 8,
        "roofline_products_cpu_ms": 1e3 * products / 8,
        "roofline_products_limit_ms": 1e3 * ideal / 8,
        "roofline_limit_ms": 1e3 * bound / 8,
    }


def show_layers(channels: int) -> dict[str, float]:
    """Processor milliseconds of one gradient of 2 s, lowest of 4, with layers as they are and fused."""
    given = Contest("ecapa", channels, 8)
    features = torch.stack(given.features)
    lengths, targets = torch.full((8,), features.shape[1]), torch.arange(8)
    quantity = TargetCosine()
    functions = {name: TeacherFunction(given.model, quantity, fold=name == "fused") for name in ("as_is", "fused")}
    taken: dict[str, list[float]] = {}
    for _ in range(4):
        for name, function in functions.items():
            for half in (False, True):
                started = time.process_time()
                function.gradient(features.clone(), lengths, targets, half)
                seconds = time.process_time() - started
                taken.setdefault(f"layers_{name}_{'bf16' if half else 'fp32'}_cpu_ms", []).append(1e3 * seconds / 8)
    best = {key: min(times) for key, times in taken.items()}
    print("\n" + "\n".join(f"{key:36}{value:8.1f}" for key, value in best.items()))
    return best


def peak_mb(count: int, channels: int) -> float:
    """Peak memory of a process that explains a stream of ``count`` utterances."""
    command = [sys.executable, __file__, "--peak", str(count), "--channels", str(channels)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def explain_stream(count: int, channels: int) -> float:
    """What the process of :func:`peak_mb` does: one gradient a map, each utterance made when it is read."""
    voices = waveforms(8)
    model = network("ecapa", channels, voices)
    engine = IntegratedGradients(model, replace(ENGINE, nodes=1, max_nodes=1, memory="1G"))
    stream = (Utterance(str(i), model.frontend(voices[i % 8][i // 8 % 2]), i % 8) for i in range(count))
    for _ in engine.explain(stream):
        pass
    return peak_memory()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 utterances, 3 rounds; memory at 50 and 400 utterances")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--channels", type=int, default=512, help="of the ECAPA-TDNN")
    parser.add_argument("--nodes", type=int, default=256, help="of the reference")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--parts", default="roofline,tdnn,ge2e,memory", help="what to measure beside the ECAPA-TDNN")
    parser.add_argument("--utterances", type=int, help="instead of 4 or 16")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(explain_stream(options.peak, options.channels))
        return
    count, repetitions, sizes = (4, 3, (50, 400)) if options.quick else (16, 9, (100, 2000))
    count = options.utterances or count
    compiles = has_compiler() and not options.no_compile
    rates = {"fp32": matrix_rate(torch.float32), "bf16": matrix_rate(torch.bfloat16)}
    found: dict[str, float | str] = {"machine": platform.processor() or platform.machine(), "compiled": str(compiles)}
    found |= {"threads": torch.get_num_threads(), "load_1min": os.getloadavg()[0]}
    found |= {f"matrix_gflops_{name}": 2 * rate / 1e9 for name, rate in rates.items()}
    print(" ".join(f"{key} {value}" for key, value in found.items()))
    result = contest("ecapa", options.channels, count, repetitions, options.nodes, compiles)
    found |= result | {"matrix_rate_share": share(options.channels, result, rates)}
    parts = options.parts.split(",")
    if "roofline" in parts:
        found |= show_layers(options.channels) | show_roofline(options.channels)
    for name, channels in (("tdnn", max(8, options.channels * 5 // 8)), ("ge2e", 0)):
        if name in parts:
            rows = contest(name, channels, min(count, 4), repetitions, max(8, options.nodes // 4), False)
            found |= {f"{name}_{key}": value for key, value in rows.items()}
    if "memory" in parts:
        for size, stream in zip(("small", "large"), sizes, strict=True):
            found[f"peak_mb_{size}"] = peak_mb(stream, options.channels)
    for key in GOALS:
        if key in found:
            print(f"{key:36}{found[key]:8.2f}")
    if options.json:
        rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in found.items()}
        options.json.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
