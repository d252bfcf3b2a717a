#!/usr/bin/env python3
"""What a training costs: our loop beside SpeechBrain's, waiting for batches, checkpoints, going on, memory over time.

The two loops (`benchmarks/training_loops.py`) take turns on the same cores: one is stopped while the other runs. Bounds
of the project: `none_vs_speechbrain` at least 1.0, `loader_wait_share` at most 0.1, `resume_seconds` under 30,
`checkpoint_pause_seconds` under 0.5, and equal peak memory after 100 and 2,000 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.data import make_corpus, write_one_ark  # noqa: E402
from benchmarks.training_gpu import gpu, gpu_child  # noqa: E402
from benchmarks.training_loops import BINS, CHANNELS, RATE, Setting, make_trainer, read_counter  # noqa: E402

ORACLE = ROOT / ".venv-oracle/bin/python"
SETTINGS = (Setting(1, 1), Setting(2, 1))  # for two cores
CORES = 2
UTTERANCES = 300  # of the corpus that the loops train on
WARM_STEPS = 6  # of a turn that don't count: batches that lay ready
HEADS = {"ecapa128": (128, 5994), "ecapa512": (512, 17982)}  # of the checkpoint that is timed: channels, classes
EARLY, LATE = 100, 2000  # steps between which memory may not grow


def make_data(folder: Path, svmini: str) -> tuple[Path, str]:
    """A data directory that a training takes, and the collection of noises and rooms."""
    from imlkd.config import save_config
    from imlkd.features.extract import FeaturesConfig, extract_features

    data = folder / "train"
    source = Path(svmini, "train") if svmini else _synthetic(folder / "synthetic")
    command = [sys.executable, "-m", "imlkd.cli.main", "data", "subset", str(source), str(data), "--number"]
    subprocess.run([*command, str(UTTERANCES)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    extract_features(data, FeaturesConfig(), data / "f", 1, folder / "progress")
    for name in ("feats", "vad"):
        (data / f"f/{name}.1.scp").rename(data / f"{name}.scp")
    (data / "f/utt2num_frames.1").rename(data / "utt2num_frames")
    save_config(FeaturesConfig(), data / "features.yaml")
    sounds = Path(svmini) if svmini else folder / "synthetic"
    return data, f"{sounds}/noise,{sounds}/rir"


def _synthetic(folder: Path) -> Path:
    """Noise in place of speech: values don't change the time."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(0)
    for kind, seconds, count in (("wav", 3.0, UTTERANCES), ("noise", 10.0, 20), ("rir", 0.5, 4)):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            samples = 0.1 * random.standard_normal(int(seconds * RATE)).astype(np.float32)
            decay = np.exp(-np.arange(len(samples)) / 1000) if kind == "rir" else 1.0
            soundfile.write(folder / kind / f"s{i % 20:02d}-{i:04d}.flac", samples * decay, RATE)
    names = sorted(path.stem for path in (folder / "wav").iterdir())
    train = folder / "train"
    train.mkdir()
    (train / "wav.scp").write_text("".join(f"{name} {folder}/wav/{name}.flac\n" for name in names))
    (train / "utt2spk").write_text("".join(f"{name} {name[:3]}\n" for name in names))
    return train


class Loop:
    """A loop in a session of its own that is stopped and goes on."""

    def __init__(self, name: str, data: Path, sounds: str, folder: Path, setting: Setting) -> None:
        folder.mkdir(parents=True)
        self.count, self.log = folder / "count", folder / "log"
        python = str(ORACLE) if name == "speechbrain" else sys.executable
        words = [str(ROOT / "benchmarks/training_loops.py"), name, str(data), sounds, str(folder)]
        environment = os.environ | {"OMP_NUM_THREADS": str(setting.threads)}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [python, *words, str(setting.threads), str(setting.workers)],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._steps(0, 3)
        self._send(signal.SIGSTOP)

    def turn(self, seconds: float) -> tuple[float, float]:
        """Run for ``seconds`` behind the batches that lay ready: samples a second, share of the time spent waiting."""
        self._send(signal.SIGCONT)
        begin = self._steps(read_counter(self.count)[1], WARM_STEPS)
        time.sleep(seconds)
        end = self._steps(begin[1], 2)
        self._send(signal.SIGSTOP)
        return (end[1] - begin[1]) / (end[0] - begin[0]), (end[2] - begin[2]) / (end[0] - begin[0])

    def _steps(self, samples: float, steps: int) -> tuple[float, float, float, float]:
        """Wait for ``steps`` more steps than those of ``samples``; the counter then."""
        batches = 0
        while batches < steps:
            time.sleep(0.02)
            if self.process.poll() is not None:
                sys.exit(f"training.py: a loop ended: {self.log.read_text()[-2000:]}")
            now = read_counter(self.count)
            if now[1] > samples:
                batches, samples = batches + 1, now[1]
        return now

    def loss(self) -> float:
        return read_counter(self.count)[3]

    def end(self) -> None:
        self._send(signal.SIGKILL)
        self.process.wait()

    def _send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)


def loops(svmini: str, turns: int, seconds: float) -> dict[str, Any]:
    """Both loops in turns for each setting; the best setting of each counts."""
    found: dict[str, Any] = {}
    names = ("ours", "speechbrain") if ORACLE.is_file() else ("ours",)
    with tempfile.TemporaryDirectory() as work:
        data, sounds = make_data(Path(work), svmini)
        best, waits, ratios = dict.fromkeys(names, 0.0), {}, {}
        for setting in SETTINGS:
            key = f"{setting.threads}_threads_{setting.workers}_workers"
            running = {n: Loop(n, data, sounds, Path(work, f"{n}-{key}"), setting) for n in names}
            taken = [{name: loop.turn(seconds) for name, loop in running.items()} for _ in range(turns)]
            for name, loop in running.items():
                rate = statistics.median(turn[name][0] for turn in taken)
                found[f"{name}_samples_per_second_{key}"], best[name] = rate, max(best[name], rate)
                found[f"{name}_loss_{key}"] = loop.loss()
                loop.end()
            waits[key] = statistics.median(turn["ours"][1] for turn in taken)
            if "speechbrain" in names:
                ratios[key] = statistics.median(turn["ours"][0] / turn["speechbrain"][0] for turn in taken)
        found |= {f"none_vs_speechbrain_{key}": ratio for key, ratio in ratios.items()}
        found |= {f"loader_wait_share_{key}": share for key, share in waits.items()}
    ours = max(SETTINGS, key=lambda s: found[f"ours_samples_per_second_{s.threads}_threads_{s.workers}_workers"])
    found["loader_wait_share"] = waits[f"{ours.threads}_threads_{ours.workers}_workers"]
    if "speechbrain" in names:
        found["none_vs_speechbrain"] = best["ours"] / best["speechbrain"]
    else:
        print("SpeechBrain's loop is left out: bash tests/setup_oracle.sh makes its environment", file=sys.stderr)
    return found


def same_network() -> dict[str, Any]:
    """That both train the same: parameters of the two networks with their heads, needs SpeechBrain's environment."""
    if not ORACLE.is_file():
        return {}
    from imlkd.features.fbank import FbankConfig
    from imlkd.models.ecapa import EcapaConfig
    from imlkd.models.networks import build_network

    text = (
        "from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN as E;"
        f"n=E({BINS},channels=[{CHANNELS}]*4+[{3 * CHANNELS}],lin_neurons=192);"
        "print(sum(p.numel() for p in n.parameters()))"
    )
    theirs = int(subprocess.run([ORACLE, "-c", text], capture_output=True, text=True, check=True).stdout)
    ours = sum(p.numel() for p in build_network(EcapaConfig(channels=CHANNELS), FbankConfig()).parameters())
    assert abs(ours - theirs) < 0.01 * theirs, (ours, theirs)
    return {"parameters": ours, "speechbrain_parameters": theirs}


def checkpoints(repeats: int) -> dict[str, Any]:
    """How long a training stands still for one checkpoint, and when that is on the disk: two sizes, median and longest.

    The training goes on meanwhile; how long its longest step beside a write takes, over its median without, shows
    whether it really does.
    """
    from imlkd.models.ecapa import EcapaConfig

    found: dict[str, Any] = {}
    for key, (channels, classes) in HEADS.items():
        with tempfile.TemporaryDirectory() as work:
            trainer = make_trainer(Path(work), EcapaConfig(channels=channels), classes, epochs=1, batch=4)
            trainer.run()  # the optimiser has its moments
            quiet = statistics.median(_step(trainer) for _ in range(repeats))
            taken, written, steps = [], [], list[float]()
            for _ in range(repeats):
                started = time.perf_counter()
                trainer._save()
                taken.append(time.perf_counter() - started)
                while trainer.writer.is_busy:
                    steps.append(_step(trainer))
                trainer.writer.wait()
                written.append(time.perf_counter() - started)
            (path, *_) = trainer.store.paths()
            found[f"checkpoint_mb_{key}"] = path.stat().st_size / 1e6
            found[f"checkpoint_pause_seconds_{key}"] = statistics.median(taken)
            found[f"checkpoint_pause_longest_{key}"] = max(taken)
            found[f"checkpoint_written_seconds_{key}"] = statistics.median(written)
            found[f"checkpoint_step_seconds_{key}"] = quiet
            found[f"checkpoint_step_longest_beside_{key}"] = max(steps, default=quiet)
    found["checkpoint_pause_seconds"] = found["checkpoint_pause_seconds_ecapa512"]  # the largest
    return found


def _step(trainer: Any) -> float:
    """Seconds of one more step on the first batch."""
    from imlkd.training.position import Plan, Position

    work = next(iter(Plan(trainer.pool, trainer.config, Position(), trainer.processes)))
    batch = trainer.make_batch(work.chosen)
    started = time.perf_counter()
    trainer.stepper.step(work, batch)
    return time.perf_counter() - started


def memory_child() -> None:
    """Print the peak memory (MB) after ``EARLY`` and ``LATE`` steps."""
    from imlkd.models.tdnn import TdnnConfig
    from imlkd.training.trainer import Pace

    steps, note = [0], Pace.step

    def step(self: Any, samples: int, waited: float) -> None:
        note(self, samples, waited)
        steps[0] += 1
        if steps[0] in (EARLY, LATE):
            status = Path("/proc/self/status").read_text()
            print("PEAK", int(status.partition("VmHWM:")[2].split()[0]) / 1024, flush=True)

    Pace.step = step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as work:
        epochs = LATE // 100 + 1
        trainer = make_trainer(Path(work), TdnnConfig(width=16), 50, utterances=200, epochs=epochs, batch=2, crops=3)
        trainer.run()


def memory() -> dict[str, Any]:
    """Peak memory after few and after many steps, checkpoints and ends of epochs between them."""
    words = [sys.executable, __file__, "--child", "memory"]
    out = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    early, late = (float(line.split()[1]) for line in out.splitlines() if line.startswith("PEAK"))
    return {f"peak_mb_{EARLY}": early, f"peak_mb_{LATE}": late, "peak_memory_growth": late / early}


def resume(share: int) -> dict[str, Any]:
    """From the start of a process to its first new step, in the middle of an epoch over the names of VoxCeleb2."""
    with tempfile.TemporaryDirectory() as work:
        data, _ = make_corpus(Path(work, "raw"), share)
        write_one_ark(data)
        words = [sys.executable, __file__, "--child", "resume", str(data), f"{work}/model"]
        for _ in range(2):  # the first leaves a checkpoint behind its first step, as if half the epoch were done
            started = time.time()
            done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 0, done.stdout + done.stderr
        (step,) = (line.split() for line in done.stdout.splitlines() if line.startswith("STEP"))
        said = next(line for line in done.stdout.splitlines() if line.startswith("going on"))
    print(said)
    return {"resume_seconds": float(step[1]) - started, "resume_entries": len_of(share), "resume_at_step": int(step[2])}


def len_of(share: int) -> int:
    from benchmarks.data import UTTERANCES as ALL

    return ALL // share


def resume_child(data: str, folder: str) -> None:
    """Train ECAPA-128 from arks and leave behind a step, the first time with a checkpoint in the epoch's middle."""
    from imlkd.features.segments import SegmentsConfig
    from imlkd.models.ecapa import EcapaConfig
    from imlkd.training.config import TrainingConfig
    from imlkd.training.frames import FramesConfig
    from imlkd.training.teacher import TeacherConfig, train_teacher
    from imlkd.training.trainer import Trainer

    again, save = Path(folder, "checkpoints").is_dir(), Trainer._save_if_due

    def leave(self: Any, work: Any, preemption: Any) -> None:
        here = self.course.position
        if not again:
            self.course.position = replace(here, step=work.of // 2, steps=work.of // 2)
            self._save()
            self.writer.wait()
        print("STEP", time.time(), here.step, flush=True)
        os._exit(0)

    assert save
    Trainer._save_if_due = leave  # type: ignore[method-assign]
    config = TeacherConfig(
        network=EcapaConfig(channels=CHANNELS), training=TrainingConfig(threads=CORES),
        segments=SegmentsConfig(durations=[2.0], hop=2.0), frames=FramesConfig("ark"),
    )  # fmt: skip
    train_teacher(Path(data), config, Path(folder), {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the names, fewer and shorter turns")
    parser.add_argument("--parts", default="loops,checkpoints,memory,resume,gpu", help="which of these (default: all)")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        {"memory": memory_child, "resume": resume_child, "gpu": gpu_child}[options.child[0]](*options.child[1:])
        return
    if options.json is None:
        parser.error("--json FILE is needed")
    turns, seconds, share, repeats = (3, 10.0, 10, 5) if options.quick else (7, 30.0, 1, 15)
    svmini = os.environ.get("SVMINI", "")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "loops": lambda: same_network() | loops(svmini, turns, seconds),
        "checkpoints": lambda: checkpoints(repeats),
        "memory": memory,
        "resume": lambda: resume(share),
        "gpu": lambda: gpu(50 if options.quick else 300),
    }
    found: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count(), "speech": svmini != ""}
    for part in options.parts.split(","):
        found |= {f"load_before_{part}": os.getloadavg()[0], **parts[part]()}
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}
    options.json.write_text(json.dumps(rounded, indent=1) + "\n")
    for key, value in rounded.items():
        print(f"{key:50} {value}")


if __name__ == "__main__":
    main()
