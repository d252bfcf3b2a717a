"""The training loop, for teachers and students alike."""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.diagnosis import warnings
from imlkd.distillation.objective import Objective
from imlkd.errors import Preempted
from imlkd.models.speaker_model import SpeakerModel
from imlkd.progress import Progress
from imlkd.training.averages import Averages
from imlkd.training.checkpoint import BestWeights, CheckpointStore
from imlkd.training.checkpoint_writer import CheckpointWriter
from imlkd.training.config import TrainingConfig
from imlkd.training.curve import Curve
from imlkd.training.development import Development
from imlkd.training.device import make_deterministic, training_device
from imlkd.training.full_state import Course, course_of, gather_state, put_back
from imlkd.training.identity import Identity
from imlkd.training.loader import Loader, MakeBatch, explained
from imlkd.training.log import TrainingLog
from imlkd.training.pace import Pace
from imlkd.training.position import Plan, Position, Work
from imlkd.training.preemption import Preemption
from imlkd.training.processes import Processes, has_lost_a_process
from imlkd.training.random_state import seed_of
from imlkd.training.sampling import SegmentPool
from imlkd.training.stepper import Stepper


class Trainer:
    """Trains ``model`` with ``objective``; leaves checkpoints and a log.

    A training that is started again with the same ``identity`` goes on behind the last checkpoint's step, and ends with
    the weights of one that was never interrupted, bit for bit.

    :param folder: of the model.
    :param progress: a file to count in, for `imlkd watch`.
    :param expected: the curve that it is held against.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: SpeakerModel,
        objective: Objective,
        pool: SegmentPool,
        make_batch: MakeBatch,
        folder: Path,
        identity: Identity,
        progress: Path | None = None,
        expected: Curve | None = None,
    ) -> None:
        self.config, self.model, self.objective, self.pool = config, model, objective, pool
        self.make_batch, self.folder, self.identity, self.progress = make_batch, folder, identity, progress
        self.processes, self.device = Processes(), training_device()
        model.to(self.device)
        objective.to(self.device)
        self.stepper = Stepper(config, model, objective, pool, self.processes, folder)
        self.averages = Averages(config, model)
        self.modules: dict[str, nn.Module] = {"model": model, "objective": objective, **self.averages.modules()}
        self.store = CheckpointStore(folder, config.checkpoints.last)
        self.best = BestWeights(folder, config.checkpoints.best, config.checkpoints.last)
        self.writer = CheckpointWriter(self.store, self.best)
        if config.longest:
            pool.keep_longest()
        if config.duration:
            pool.keep_duration(config.duration)
        self.dev = Development.hold_out(pool, config.dev_speakers, config.seed) if config.dev_speakers else None
        misfit = expected.misfit(config.epochs) if expected is not None else ""
        self.expected, self._misfit = (None if misfit else expected), misfit
        self.course = Course()
        self.pace = Pace()
        self._takes_the_place_of_others = False
        self._marked = self._saved = time.monotonic()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.stepper.optimizer

    def run(self) -> float:
        """Train to the end, from the last checkpoint if there is one; returns the seconds spent in all.

        :raises Preempted: after SIGTERM or SIGUSR1, with the state saved; or when another process is gone.
        """
        self._say(self._resume())
        if self._misfit:
            self._say(self._misfit)
        try:
            self._train()
        except RuntimeError as error:
            if self.processes.count > 1 and has_lost_a_process(error):
                raise Preempted("a process of this training is gone: the same command goes on") from error
            said = explained(error, self.config.loader)
            if said is None:
                raise
            raise said from error
        self.averages.put_into(self.model, self.best)
        self.model.to("cpu")
        return self.course.seconds

    def _train(self) -> None:
        with Preemption() as preemption, contextlib.ExitStack() as stack:
            log = progress = None
            stack.enter_context(self.writer)
            if self.processes.leads:
                log = TrainingLog(self.folder, self.course.position.epoch, self.expected)
                progress = stack.enter_context(Progress(self.folder.name, self.config.epochs, self.progress))
                progress.update(self.course.position.epoch)
            self._marked = self._saved = time.monotonic()
            plan = Plan(self.pool, self.config, self.course.position, self.processes)
            loader = Loader(plan, self.make_batch, self.config.loader)
            if self.device.type != "cpu" and self.course.position.epoch < self.config.epochs:
                self.rehearse(plan, loader)
            for work, batch in stack.enter_context(contextlib.closing(iter(loader))):
                self._do(work, batch)
                self.pace.step(len(work.chosen) * self.processes.count, loader.waited)
                if work.ends_epoch:
                    self._end_epoch(work, log, progress)
                elif self.pace.speaks():
                    self._say_inside(work, progress)
                self._save_if_due(work, preemption)

    def _resume(self) -> str:
        """Take up the newest checkpoint that is whole and this training's own; returns a line for the log."""
        if self.processes.rank:
            torch.manual_seed(seed_of(self.config.seed, self.processes.rank))
        found = self.store.newest()
        for path in self.store.damaged:
            self._say(f"warning: {path} is damaged" + (": taking the one before" if found else ""))
        if found is None:
            return "starting from scratch"
        state, path = found
        change = self.identity.change_from(Identity(**state["identity"]))
        if change.refused:
            self._takes_the_place_of_others = True
            changed = _list(change.refused)
            return f"{path} belongs to another configuration or other data: starting from scratch ({changed})"
        said = put_back(state, self.modules, self._tools(), self.processes, self.config.seed)
        self.course = course_of(state, self.processes)
        self.best.kept, self.stepper.trouble.skipped = self.course.best, self.course.skipped
        self.objective.diagnosis = self.course.diagnosis
        here = self.course.position
        if here.step == 0 and self.processes.leads:
            self.best.write(here.epoch, self.model.state_dict(), self.best.kept, resumed=True)
        place = f"step {here.step} of epoch {here.epoch + 1}" if here.step else f"epoch {here.epoch}"
        if state["processes"] != self.processes.count and here.step:
            self.course.position, self.course.sums = Position(here.epoch + 1, 0, here.steps), {}
        if change.inexact:
            said = "; ".join([*filter(None, [said]), f"{_list(change.inexact)}: no longer the same to the bit"])
        if change.harmless:
            said = "; ".join([*filter(None, [said]), f"{_list(change.harmless)}: without effect on the weights"])
        return f"going on after {place} from {path}" + (f" ({said})" if said else "")

    def rehearse(self, plan: Plan, loader: Loader) -> None:
        """Try the largest batch, on a device whose memory ends with an error, before the first step.

        :raises UserError: when there is no room for it.
        """
        self.model.train()
        work, batch = loader.batches[plan.largest()]
        self.stepper.rehearse(work, batch.to(self.device))

    def _do(self, work: Work, batch: DistillationBatch) -> None:
        """One step, and what it says into the epoch's sums."""
        self.model.train()
        batch = batch.to(self.device)
        self.objective.watching = work.position.step == 0
        terms = self.stepper.step(work, batch)
        self.averages.after_step(self.model)
        sums = self.course.sums
        for name, value in ({"steps": 1.0, **terms} if terms else {}).items():
            sums[name] = sums.get(name, 0.0) + value
        self.course.position, self.course.skipped = work.after, self.stepper.trouble.skipped

    def _say_inside(self, work: Work, progress: Progress | None) -> None:
        """Where a long epoch is, to the log and the progress line."""
        sums, here = self.course.sums, self.course.position
        self.pace.so_far(self.stepper.rate, work.steps_left(self.config.epochs))
        steps = max(1.0, sums.get("steps", 0.0))
        note = _note({name: value / steps for name, value in sums.items() if name != "steps"})
        self._say(f"epoch {here.epoch + 1}/{self.config.epochs} step {here.step}/{work.of} {note} {self.pace.said}")
        if progress is not None:
            progress.update(0, f"step {here.step}/{work.of} {note} {self.pace.said}")

    def _end_epoch(self, work: Work, log: TrainingLog | None, progress: Progress | None) -> None:
        """Numbers of the epoch: to the log, the progress line, and the choice of the best weights."""
        epoch, course = work.position.epoch, self.course
        sums = self.processes.mean(course.sums)
        steps = max(1.0, sums.pop("steps", 0.0))
        means = {name: round(value / steps, 5) for name, value in sums.items()}
        course.sums = {}
        self._count_seconds()
        self.averages.after_epoch(self.model, epoch)
        if self.dev is not None:
            means["dev_eer"] = self.processes.told(self.dev.eer(self.model) if self.processes.leads else 0.0)
        speed = self.pace.epoch(self.stepper.rate, work.steps_left(self.config.epochs))
        if log is not None:
            own = {**means, **speed, **self.objective.diagnosis}
            log.add({"epoch": epoch + 1, "seconds": round(course.seconds, 2), **own})
        note = _note(means) + (f" {self.expected.said(epoch + 1)}" if self.expected is not None else "")
        self._say(f"epoch {epoch + 1}/{self.config.epochs} {note} {self.pace.said}")
        self._warn(epoch)
        self.best.rank(means.get("dev_eer", means.get("loss", math.inf)), epoch + 1)
        if progress is not None:
            progress.update(1, f"{note} {self.pace.said}")

    def _save_if_due(self, work: Work, preemption: Preemption) -> None:
        """A checkpoint at the end of an epoch, when one is due inside, or when asked to leave."""
        self.writer.look()
        kept, steps = self.config.checkpoints, self.course.position.steps
        timed = kept.minutes > 0 and time.monotonic() - self._saved >= 60 * kept.minutes
        counted = kept.steps > 0 and steps % kept.steps == 0
        asked, timed = self.processes.any([bool(preemption.asked), timed])
        if work.ends_epoch or timed or counted or asked:
            self._save()
            if asked:
                self.writer.wait()
                self.processes.told(None)  # a launcher ends them all when one leaves
                by = preemption.asked or "a signal to another process"
                raise Preempted(f"{by}: saved after step {steps}: the same command goes on there")

    def _save(self) -> None:
        """Copy the full state; it is written behind the training's back."""
        self._count_seconds()
        self.course.best, self.course.diagnosis = self.best.kept, self.objective.diagnosis
        state = gather_state(self.identity, self.course, self.modules, self._tools(), self.processes)
        self._saved = time.monotonic()
        if self.processes.leads:
            self.writer.save(state, alone=self._takes_the_place_of_others)
            self._takes_the_place_of_others = False

    def _tools(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "scaler": self.stepper.scaler}

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.course.seconds, self._marked = self.course.seconds + now - self._marked, now

    def _warn(self, epoch: int) -> None:
        """What is wrong with the terms, when it is new."""
        for line in warnings(self.objective.diagnosis):
            subject = line.partition(" is ")[0]
            if subject not in self.course.said:
                self._say(f"epoch {epoch + 1}: warning: {line}")
                self.course.said.append(subject)

    def _say(self, line: str) -> None:
        if self.processes.leads:
            print(line, flush=True)


def _note(means: dict[str, float]) -> str:
    """The loss and its terms by name."""
    return " ".join(f"{name} {value:.3g}" for name, value in means.items())


def _list(changes: list[str]) -> str:
    """The first few, so that the line stays one."""
    return ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")


def prepare_torch(threads: int, seed: int) -> None:
    """Fix threads, seed and algorithms, so that the same machine gives the same result.

    :param threads: of this process; 0: all cores, shared between the processes of a training.
    """
    processes, device = Processes(), training_device()
    if threads or processes.count > 1:
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // processes.count))
    torch.manual_seed(seed)
    make_deterministic(device)
