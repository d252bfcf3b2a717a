"""Kill a training at random moments with SIGKILL, start it again each time, and compare its weights and its log with
those of an uninterrupted one, bit for bit: with one process, and with two (gloo), batches made by loader workers.

A kill comes in the middle of a drawn step, every third one when a checkpoint is half written. The training is tiny and
has all that can go wrong: a projection of the method, random numbers in batches and in the method, a moving average,
best weights, checkpoints inside epochs, on a disk so slow that the training is steps ahead when one lies there.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import imlkd.files
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.objective import Objective
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment
from imlkd.files import remove_leftovers
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import CheckpointsConfig, LoaderConfig, TrainingConfig
from imlkd.training.identity import Identity, settings_of
from imlkd.training.position import Work
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.trainer import Trainer, prepare_torch

SPEAKERS, DIM, FRAMES = 6, 8, 60
IN_A_WRITE = 3  # every third kill
MILLISECONDS = 4.0  # that a kill comes after its step, at most
SLOW = 0.01  # seconds that the disk takes beside its own: some steps
COUNTER = mmap.mmap(-1, 8)  # steps done, written by the training, read by who kills it


class Noisy(Imlkd):
    """IML-KD with a trainable projection and dropout, so that state and random numbers of the method count."""

    def __init__(self) -> None:
        super().__init__(ImlkdConfig())
        self.projection = torch.nn.Linear(SPEAKERS, SPEAKERS)

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, torch.Tensor]:
        logits = [self.projection(torch.dropout(view.logits, 0.1, True)) for view in views]
        changed = [dataclasses.replace(view, logits=new) for view, new in zip(views, logits, strict=True)]
        return super().terms(batch, changed)


@dataclass(frozen=True)
class Setting:
    """How the training runs."""

    processes: int = 1
    workers: int = 2
    epochs: int = 5
    utterances: int = 40

    def config(self) -> TrainingConfig:
        kept = CheckpointsConfig(minutes=0.0, steps=3, last=2, best=2)
        loader = LoaderConfig(workers=self.workers)
        return TrainingConfig(
            epochs=self.epochs, batch=2, crops=4, learning_rate=0.01, seed=3, threads=1, final="ema", ema_decay=0.9,
            statistics="own", checkpoints=kept, loader=loader,
        )  # fmt: skip


def make_pool(utterances: int) -> SegmentPool:
    """Noise around a mean frame that each speaker has."""
    generator = torch.Generator().manual_seed(0)
    names = [f"s{u % SPEAKERS}-u{u}" for u in range(utterances)]
    centres = torch.randn(SPEAKERS, 1, DIM, generator=generator)
    rows = torch.cat([centres[int(n[1])] + torch.randn(FRAMES, DIM, generator=generator) for n in names])
    segments = [Segment(n, start, d) for n in names for d in (20, 40) for start in range(0, FRAMES - d + 1, 10)]
    offsets = {name: i * FRAMES for i, name in enumerate(names)}
    return SegmentPool(rows, offsets, {name: int(name[1]) for name in names}, segments)


def make_trainer(folder: Path, setting: Setting) -> Trainer:
    """The same training each time, but for what its checkpoints hold."""
    config = setting.config()
    prepare_torch(config.threads, config.seed)
    pool = make_pool(setting.utterances)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=DIM))
    model.head = CosineHead(6, [f"s{i}" for i in range(SPEAKERS)])
    objective = Objective(Noisy(), config.margin, config.scale)

    def batch(chosen: Indices) -> DistillationBatch:
        crops, labels = pool.crops(chosen), pool.classes(chosen)
        logits = 5 * torch.nn.functional.one_hot(labels, SPEAKERS).float() + torch.randn(len(chosen), SPEAKERS)
        return DistillationBatch(crops, labels, logits, 0.5 + 0.5 * torch.rand(crops.shape[:2]), logits)

    identity = Identity({}, settings_of(config, "training."))
    return Trainer(config, model, objective, pool, batch, folder, identity, folder / "progress")


def steps_done() -> int:
    return int(struct.unpack("q", COUNTER[:8])[0])


def counted(do: Callable[..., None], trainer: Trainer) -> Callable[..., None]:
    """A trainer's step that notes how many are done."""

    def step(work: Work, batch: DistillationBatch) -> None:
        do(work, batch)
        COUNTER[:8] = struct.pack("q", trainer.course.position.steps)

    return step


def slow(sync: Callable[[Path], None]) -> Callable[[Path], None]:
    """The end of a write on a slow disk; the training goes on meanwhile."""

    def wait(path: Path) -> None:
        if path.parent.name == "checkpoints":
            time.sleep(SLOW)
        sync(path)

    return wait


def deadly(sync: Callable[[Path], None], target: int) -> Callable[[Path], None]:
    """The end of a write which, from step ``target`` on, cuts the file in half and kills the process."""

    def cut(path: Path) -> None:
        if steps_done() >= target and path.parent.name == "checkpoints":
            os.truncate(path, path.stat().st_size // 2)
            os.killpg(0, signal.SIGKILL)
        sync(path)

    return cut


def child(folder: Path, setting: Setting, rank: int, in_a_write: int | None) -> None:
    """The life of one process of a start; never returns."""
    status = 1
    try:
        os.setsid()
        with open(folder / f"log.{rank}", "a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if setting.processes > 1:
            meeting = f"file://{folder}/meeting"
            torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=setting.processes)
        trainer = make_trainer(folder, setting)
        if rank == 0:
            trainer._do = counted(trainer._do, trainer)  # type: ignore[method-assign]
        imlkd.files._sync = slow(imlkd.files._sync)
        if in_a_write is not None:
            imlkd.files._sync = deadly(imlkd.files._sync, in_a_write)
        trainer.run()
        if rank == 0:
            torch.save(trainer.model.state_dict(), folder / "final.pt")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


@dataclass
class Start:
    """One start of the training in ``folder``, forked, so that torch is imported once."""

    folder: Path
    setting: Setting
    in_a_write: int | None = None
    pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        remove_leftovers(self.folder)  # as `imlkd marker check` does
        (self.folder / "meeting").unlink(missing_ok=True)
        COUNTER[:8] = bytes(8)
        for rank in range(self.setting.processes):
            pid = os.fork()
            if pid == 0:
                child(self.folder, self.setting, rank, self.in_a_write)
            self.pids.append(pid)

    def ended(self) -> bool:
        """Whether any process has come to its end by itself; it is collected by `wait` or `kill`."""
        return any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None for pid in self.pids)

    def wait(self) -> None:
        """SystemExit when it fails."""
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids]
        if any(codes):
            text = "".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("log.*")))
            sys.exit(f"kill_training.py: a start failed with {codes}: {text}")

    def kill(self) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)


def survive(work: Path, setting: Setting, kills: int, seed: int, say: bool = True) -> str:
    """Kill ``kills`` starts of one training; returns a line on what came of it."""
    generator = random.Random(seed)
    whole, killed = work / f"whole-{setting.processes}", work / f"killed-{setting.processes}"
    Start(whole, setting).wait()
    in_all = steps_done()
    in_a_write = 0
    for number, target in enumerate(sorted(generator.randrange(in_all - 3) for _ in range(kills))):
        in_write = number % IN_A_WRITE == IN_A_WRITE - 1
        start = Start(killed, setting, target if in_write else None)
        while not start.ended() and (in_write or steps_done() <= target):
            time.sleep(0.0005)
        time.sleep(0.001 * generator.uniform(0.0, MILLISECONDS))
        start.kill()
        half = list((killed / "checkpoints").glob(".*.tmp*"))
        in_a_write += bool(half)
        if say:
            place = f"behind step {steps_done()} of {in_all}" + (", in a write" if half else "")
            print(f"kill {number + 1:2} of {kills}: {place}")
    Start(killed, setting).wait()
    found = differences(whole, killed)
    many = "1 process" if setting.processes == 1 else f"{setting.processes} processes"
    verdict = f"{many}, {setting.workers} loader workers: killed {kills} times ({in_a_write} in a write)"
    return f"{verdict}, final weights " + ("equal" if not found else f"NOT equal: {'; '.join(found)}")


def differences(whole: Path, killed: Path) -> list[str]:
    """Weights and entries of the log that are not the same to the bit."""
    a, b = (torch.load(folder / "final.pt", weights_only=True) for folder in (whole, killed))
    found = [f"{killed.name}: {name}" for name in a if not torch.equal(a[name], b[name])]
    return found + ([] if entries(whole) == entries(killed) else [f"{killed.name}: log"])


def entries(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log/train.jsonl").read_text().splitlines()
    timed = ("seconds", "samples_per_second", "loader_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often, for each number of processes")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--work", type=Path, help="an empty folder that is kept (default: a temporary one)")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    work = (options.work or Path(tempfile.mkdtemp(prefix="imlkd-kill."))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    verdicts = [survive(work, Setting(processes), options.kills, options.seed) for processes in (1, 2)]
    print(*verdicts, sep="\n")
    equal = all(verdict.endswith("weights equal") for verdict in verdicts)
    if options.work is None and equal:
        shutil.rmtree(work)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
