#!/usr/bin/env python3
"""What a training step costs by each method: milliseconds and peak memory, at two numbers of classes.

A student of ECAPA-128 learns from a teacher of ECAPA-256 (both with random weights: values don't change the time), on
a batch of 64 segments of 2 s; `oskdft`, whose adapters a TDNN takes, from the same teacher into a TDNN of width 128.
What stage 3 caches (logits, embeddings, relevance) is at hand as in a training; a teacher whose stages are aligned runs
in the step. Each method and size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = (5994, 17982)  # VoxCeleb2's speakers, and with speed copies as speakers
ROWS, FRAMES, BINS = 64, 200, 80
ONLINE_NODES = 8
REPEATS, QUICK = 7, 3
TIED = "mlld"  # what imlkd is held against: the same levels and as many views


def step_of(name: str, classes: int, online: bool = False) -> Callable[[], None]:
    """A closure that trains one step; everything it needs is built before."""
    import torch

    from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
    from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
    from imlkd.distillation.batch import DistillationBatch
    from imlkd.distillation.integrated_inputs import gated, soft_gate
    from imlkd.distillation.objective import Objective, build_method
    from imlkd.features.fbank import FbankConfig
    from imlkd.models.ecapa import Ecapa, EcapaConfig
    from imlkd.models.speaker_model import CosineHead
    from imlkd.models.tdnn import Tdnn, TdnnConfig
    from imlkd.training.live_teacher import LiveTeacher, prepare_method

    torch.manual_seed(0)
    fbank, speakers = FbankConfig(num_mel_bins=BINS), [f"s{i}" for i in range(classes)]
    method = build_method(name, None, ["steps=4"] if name == "mvq" else [])
    teacher = Ecapa(EcapaConfig(channels=256), fbank).eval().requires_grad_(False)
    student: Any = Ecapa(EcapaConfig(channels=128), fbank)
    if method.needs.adapters:
        student = Tdnn(TdnnConfig(width=128, adapters=8), fbank)
    for model in (teacher, student):
        model.head = CosineHead(model.embedding_dim, speakers).requires_grad_(model is student)
    live = LiveTeacher.__new__(LiveTeacher)
    live.model = teacher
    features, lengths = torch.randn(ROWS, FRAMES, BINS), torch.full((ROWS,), FRAMES)
    labels = torch.arange(ROWS) % classes
    relevance = torch.rand(ROWS, FRAMES)
    with torch.no_grad():
        answer = teacher(features, lengths)
    prepare_method(method, student, live, answer.embedding.shape[1], features[:1])
    method.fit(lambda count: answer.stages[-1][:count])
    objective = Objective(method, 0.2, 30.0)
    parameters = [p for p in [*student.parameters(), *method.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    settings = RelevanceConfig(nodes=ONLINE_NODES, max_nodes=ONLINE_NODES, tolerance=10.0)
    engine = IntegratedGradients(teacher, settings.integration()) if online else None

    def batch() -> DistillationBatch:
        made = DistillationBatch(features, labels, 30 * answer.cosines, teacher_embedding=answer.embedding)
        made.relevance, made.gate, made.teacher_logits_gated = relevance, soft_gate(relevance, 0.5), 30 * answer.cosines
        if method.needs.teacher_stages:
            made.teacher_output = live.answer(features)
        if engine is not None:
            rows = zip(map(str, range(ROWS)), features, labels.tolist(), strict=True)
            maps = [found.map for found in engine.explain(Utterance(*row) for row in rows)]
            made.relevance = frame_relevance(torch.stack(maps).float(), settings)
            made.gate = soft_gate(made.relevance, 0.5)
            with torch.no_grad():
                made.teacher_logits_gated = 30 * teacher(gated(features, made.gate), lengths).cosines
        return made

    def step() -> None:
        loss, _ = objective(student.train(), batch())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def class_term(classes: int) -> Callable[[], None]:
    """The class level alone, forth and back, at the temperatures of `imlkd`."""
    import torch

    from imlkd.distillation.alignment import class_level
    from imlkd.distillation.methods.imlkd import ImlkdConfig

    torch.manual_seed(0)
    student, teacher = (30 * torch.nn.functional.normalize(torch.randn(ROWS, classes)) for _ in range(2))
    student.requires_grad_()

    def step() -> None:
        class_level(student, teacher, ImlkdConfig().gram_temperatures).backward()

    return step


def timed(step: Callable[[], None], repeats: int) -> float:
    """Median seconds of a step, the first one not counted."""
    return statistics.median([_seconds(step) for _ in range(repeats + 1)][1:])


def _seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def measure_one(name: str, classes: int, repeats: int) -> dict[str, float]:
    """Milliseconds and peak MB of a method; run in a process of its own."""
    step = class_term(classes) if name == "class" else step_of(name.removesuffix("-online"), classes, "-online" in name)
    seconds = timed(step, repeats)
    return {"ms": 1000 * seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measured(name: str, classes: int, repeats: int) -> dict[str, float]:
    """``measure_one`` in a fresh process."""
    command = [sys.executable, __file__, "--one", name, "--classes", str(classes), "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def interleaved(first: str, second: str, classes: int, repeats: int) -> tuple[float, float]:
    """Medians of the ratio of two methods whose steps take turns in one process, and of the first's milliseconds."""
    steps = [step_of(name, classes) for name in (first, second)]
    for step in steps:
        step()
    pairs = [[_seconds(step) for step in steps] for _ in range(repeats)]
    return statistics.median(a / b for a, b in pairs), statistics.median(1000 * a for a, _ in pairs)


def measure(quick: bool) -> dict[str, float]:
    """All keys of the table in benchmarks/README.md."""
    from imlkd.distillation.objective import METHODS

    repeats, found = QUICK if quick else REPEATS, dict[str, float]()
    for classes in CLASSES:
        mark = "" if classes == CLASSES[0] else f"_{classes}"
        for name in METHODS:
            one = measured(name, classes, repeats)
            found |= {f"step_ms_{name}{mark}": one["ms"], f"peak_mb_{name}{mark}": one["mb"]}
            print(f"{name:12} {classes:6} classes {one['ms']:8.0f} ms {one['mb']:7.0f} MB", flush=True)
        alone = measured("class", classes, repeats)
        found[f"class_level_share{mark}"] = alone["ms"] / found[f"step_ms_imlkd{mark}"]
    ratio, cached = interleaved("imlkd", TIED, CLASSES[0], 2 * repeats)
    online = measured("imlkd-online", CLASSES[0], 1 if quick else 2)
    return {
        "imlkd_step_vs_mlld_equal_views": ratio,
        "imlkd_online_vs_cached": online["ms"] / cached,
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, default=CLASSES[0], help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=QUICK, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(options.one, options.classes, options.repeats)))
        return
    if options.json is None:
        parser.error("--json FILE: give the file to write")
    import torch

    results: dict[str, float | str | None] = {
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "batch": ROWS, "seconds": FRAMES / 100,
    }  # fmt: skip
    results |= {key: round(value, 4) for key, value in measure(options.quick).items()}
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    for key, value in results.items():
        print(f"{key:40} {value}")


if __name__ == "__main__":
    main()
