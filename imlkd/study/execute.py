"""Runs of a study: each fold's data, teacher and targets by run.sh, each student by the scripts of stage 4.

Everything goes through the recipe's own stages and their done markers, so that a study that was killed goes on where it
was, and what it trains is what the recipe trains.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from imlkd.config import load_config, save_config
from imlkd.corpora.kaldi_dir import DataDir, read_data_dir
from imlkd.distillation.objective import METHODS, combined_config
from imlkd.errors import UserError
from imlkd.features.speed import speed_copies
from imlkd.files import atomic_write_text, make_dir, sha256_file
from imlkd.progress import Progress
from imlkd.recipe import model_folders
from imlkd.study.cost import cost_of
from imlkd.study.folds import read_fold, write_part
from imlkd.study.measure import conditions_of
from imlkd.study.plan import Run, StudyConfig
from imlkd.study.record import Record, packed
from imlkd.study.search import planned, row_of


@dataclass(frozen=True)
class Places:
    """Where a study reads and writes.

    :param file: its YAML; ``data``: the training set; ``work``: what can be made again; ``results``: what is kept.
    """

    file: Path
    data: Path
    work: Path
    results: Path

    @property
    def records(self) -> Path:
        return self.results / "runs"

    @property
    def maps(self) -> Path:
        return self.results / "maps"

    def fold(self, number: int) -> Path:
        return self.work / f"fold{number}"

    def teacher(self, number: int, name: str) -> Path:
        return model_folders(self.fold(number) / "exp", "kaldi", name, "speakers", []).teacher

    def student(self, run: Run) -> Path:
        return self.fold(run.fold) / "students" / f"{run.name}_{run.row.method}"


def prepare_fold(config: StudyConfig, places: Places, number: int, nj: int) -> None:
    """Data directories, teacher and targets of a fold, by run.sh's stages 0 to 3.

    :raises UserError: when a stage fails, naming its log.
    """
    folder, fold = places.fold(number), read_fold(places.results, number)
    make_dir(folder)
    data, speakers = read_data_dir(places.data), set(fold.speaker.values())
    held = folder / "held"
    write_part(data, speakers, held)
    write_training_part(config, data, set(data.spk2utt) - speakers, folder / "train")
    shutil.copyfile(places.results / f"fold.{number}.trials", held / "trials")
    make_targets(config, folder, {held: held / "trials"}, nj)


def make_targets(config: StudyConfig, folder: Path, tests: Mapping[Path, Path], nj: int) -> None:
    """Stages 0 to 3 on ``folder/train`` for one student set and what it is measured on.

    :param tests: data directory -> its list.
    :raises UserError: when a stage fails, naming its log.
    """
    _call(
        [
            "./run.sh", "--corpus", "kaldi", "--train", folder / "train", "--test", ",".join(map(str, tests)),
            "--trials", ",".join(map(str, tests.values())), "--teacher", config.teacher, "--methods", "none",
            "--conf", config.conf, "--relevance-set", config.relevance_set, "--data", folder / "data",
            "--exp", folder / "exp", "--stage", 0, "--stop-stage", 3, "--nj", nj,
        ],
        folder / "log" / "run.log",
    )  # fmt: skip


def write_training_part(config: StudyConfig, data: DataDir, speakers: set[str], out: Path) -> None:
    """The speakers that a fold trains on, and their copies at other speeds, which are made once."""
    if not config.speeds:
        return write_part(data, speakers, out)
    plain, told = out.with_name("plain"), out.with_name("speeds")
    write_part(data, speakers, plain)
    tables = " ".join(sha256_file(table) for table in sorted(plain.iterdir()))
    made_from = f"{config.speeds} {tables}\n"
    if out.is_dir() and told.is_file() and told.read_text() == made_from:
        return None
    for left in (out, out.with_name(f"{out.name}.audio")):
        shutil.rmtree(left, ignore_errors=True)
    speed_copies(plain, out, config.speeds, "new", allow_pipes=True, say=lambda line: None)
    atomic_write_text(told, made_from)


def missing_runs(config: StudyConfig, places: Places) -> list[Run]:
    """Runs without a record, or whose record is of other settings or another list."""
    return [run for run in planned(config, places.file, places.results) if not _is_done(run, places)]


def _is_done(run: Run, places: Places) -> bool:
    path = places.records / f"{run.name}.json"
    if not path.is_file():
        return False
    record = Record.read(path)
    return record.settings == run.settings() and record.trials == _hash(places, run.fold)


def _hash(places: Places, fold: int) -> str:
    return sha256_file(places.results / f"fold.{fold}.trials")


def execute(config: StudyConfig, places: Places, jobs: int) -> int:
    """Make every missing run, ``jobs`` at a time, tries before what they decide and the main rows before others.

    :returns: how many were made.
    :raises UserError: for the first that failed, after those that were under way have ended.
    """
    made = 0
    while waiting := missing_runs(config, places):
        waiting = [run for run in waiting if row_of(run) in config.main] or waiting
        _execute(config, places, waiting, jobs)
        made += len(waiting)
    return made


def _execute(config: StudyConfig, places: Places, waiting: Sequence[Run], jobs: int) -> None:
    for number in sorted({run.fold for run in waiting}):
        prepare_fold(config, places, number, jobs)
        if not (places.records / f"teacher.f{number}.json").is_file():
            record_teacher(config, places, number)
    run_all(places, waiting, jobs)


def run_all(places: Places, waiting: Sequence[Run], jobs: int) -> None:
    """Runs whose fold is prepared, ``jobs`` at a time, each in a process of its own.

    :raises UserError: for the first that failed, after those that were under way have ended.
    """
    stop = threading.Event()
    with Progress("study", len(waiting)) as counted, ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(_run_apart, places, run, stop) for run in waiting]):
                counted.update(1, future.result())
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, UserError):  # interrupted: what is under way is not waited for
                stop.set()
            raise


def _run_apart(places: Places, run: Run, stop: threading.Event) -> str:
    """A run in a process of its own, with one thread; ended when it is to stop."""
    command = [
        "utils/imlkd", "study", "one", places.file, "--data", places.data, "--work", places.work, "--results",
        places.results, "--run", run.name,
    ]  # fmt: skip
    _call(command, places.work / "log" / f"{run.name}.log", stop)
    return run.name


def run_one(config: StudyConfig, places: Places, run: Run) -> Record:
    """Train, score and record one run."""
    train_one(config, places, run)
    record = record_run(config, places, run, "held")
    record.write(places.records / f"{run.name}.json")
    return record


def train_one(config: StudyConfig, places: Places, run: Run) -> None:
    """Train one run; done already, it costs seconds."""
    folder = places.fold(run.fold)
    targets = places.teacher(run.fold, config.teacher) / "targets_train"
    conf = _conf_of(config, run, folder / "conf" / run.name)
    settings = [*run.student.settings, *run.row.student_set, f"training.seed={run.seed}", "training.threads=1"]
    _call(
        [
            "local/distil.sh", "--nj", 1, "--conf", conf, "--set", " ".join(settings), run.row.method,
            folder / "data" / "train", targets, folder / "students" / run.name,
        ],
        places.work / "log" / f"{run.name}.distil.log",
    )  # fmt: skip


def record_run(config: StudyConfig, places: Places, run: Run, test: str) -> Record:
    """Score a trained run on a set of its fold."""
    return _recorded(
        config, places, places.student(run), test, run.fold, run.row.label, run.student.label, run.seed, run.settings()
    )  # fmt: skip


def record_teacher(config: StudyConfig, places: Places, number: int, test: str = "held") -> Record:
    """Score and record a fold's teacher."""
    model = places.teacher(number, config.teacher)
    record = _recorded(config, places, model, test, number, "teacher", config.teacher, 0, config.teacher)
    record.write(places.records / f"teacher.f{number}.json")
    return record


def _recorded(
    config: StudyConfig, places: Places, model: Path, test: str, number: int, row: str, student: str, seed: int,
    settings: str,
) -> Record:  # fmt: skip
    from imlkd.models.size import count_parameters
    from imlkd.models.store import load_model
    from imlkd.study.measure import scores_of

    fold, cost = read_fold(places.results, number), cost_of(model)
    scores = scores_of(model, places.fold(number) / "data" / test, fold, config.cuts)
    assert list(scores) == conditions_of(config.cuts)
    return Record(
        places.file.stem, row, student, number, seed, settings, _hash(places, number), _git(),
        count_parameters(load_model(model)), cost.minutes, {name: packed(values) for name, values in scores.items()},
        cost.step_ms, cost.peak_mb,
    )  # fmt: skip


def _conf_of(config: StudyConfig, run: Run, folder: Path) -> Path:
    """The study's configurations with the run's settings of its method."""
    shutil.copytree(config.conf, folder, dirs_exist_ok=True)
    names = run.row.method.split("+")
    cls = METHODS[names[0]][1] if len(names) == 1 else combined_config(names)
    own = folder / f"{run.row.method}.yaml"
    save_config(load_config(cls, own if own.is_file() else None, run.row.method_set), own)
    return folder


def _git() -> str:
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _call(command: Sequence[object], log: Path, stop: threading.Event | None = None) -> None:
    """Run a script of the recipe; what it prints goes to ``log``. It does not outlive an interrupt, or ``stop``.

    :raises UserError: when it fails, with its last line.
    """
    make_dir(log.parent)
    with open(log, "w", encoding="utf-8") as stream:
        child = subprocess.Popen(
            [str(word) for word in command], stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}, start_new_session=True,
        )  # fmt: skip
        try:
            while child.returncode is None and not (stop is not None and stop.is_set()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.3)
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGTERM)  # the jobs of the script too, which save what they have
                child.wait()
    if child.returncode:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise UserError(f"{command[0]} failed (see {log}): {lines[-1] if lines else 'it said nothing'}")
