"""The disturbances of `tests/soak.py`: what happens to a running recipe, and how it may end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kill_recipe import BEFORE_STAGES, Run

ALL = (BEFORE_STAGES, *range(8))
TRAININGS = (2, 4)
READING = (0, 1, 3, 5)  # stages that read audio
SPARE = 64 << 20  # bytes of room beside a run
LONGEST = 60.0  # seconds that a disturbance lasts when the run does not end
COMMANDS = ("train-teacher", "distil")  # of `imlkd model`: what a training is called
TOLD = "said in one line"
UNNOTICED = "not noticed, nothing was wanted of it"
KILLED = "killed"
SILENT = "ended without a line on it"


class Disk:
    """Where rounds lie: as root a file system in memory that can be filled and made read-only.

    Without root (or where mounting is refused) a limit on the size of files and permissions stand in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mounted = folder, False

    def __str__(self) -> str:
        if self.mounted:
            return "disk: a tmpfs to be filled, and a read-only mount over exp"
        return "disk: mounting is refused: a limit on the size of files (ulimit -f), and permissions of exp"

    def open(self, size: int) -> None:
        """Room for a run of ``size`` bytes."""
        self.folder.mkdir()
        room = int(1.3 * size) + SPARE
        self.mounted = _runs("mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(self.folder))

    def close(self) -> None:
        if self.mounted:
            self.mounted = not _runs("umount", "-l", str(self.folder))

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Fills within seconds and stays full."""
        filler, stop = self.folder / "filler", threading.Event()
        thread = threading.Thread(target=_fill, args=(filler, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Iterator[None]:
        """No file below ``folder`` can be opened for writing or made."""
        if self.mounted:
            _runs("mount", "--bind", str(folder), str(folder))
            _runs("mount", "-o", "remount,bind,ro", str(folder))
            try:
                yield
            finally:
                _runs("umount", "-l", str(folder))
            return
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        modes = {path: path.stat().st_mode for path in folders}
        for path in reversed(folders):
            path.chmod(0o555)
        try:
            yield
        finally:
            for path in folders:
                path.chmod(modes[path])


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def _fill(filler: Path, stop: threading.Event) -> None:
    with open(filler, "wb", buffering=0) as stream:
        while not stop.is_set():
            try:
                stream.write(bytes(1 << 20))
                time.sleep(0.002)
            except OSError:
                time.sleep(0.05)


@dataclass(frozen=True)
class Scene:
    """What a disturbance may touch."""

    disk: Disk
    folder: Path
    corpus: Path
    generator: random.Random


def outcome(run: Run, words: tuple[str, ...]) -> str:
    """How a start ended that was to say one of ``words`` in its last line."""
    status = run.finish()
    if status == 0:
        return UNNOTICED
    said = run.last_line.startswith(("imlkd: error: ", "./run.sh: ")) and any(word in run.last_line for word in words)
    return TOLD if said else SILENT


def wait_for_end(run: Run) -> None:
    limit = time.monotonic() + LONGEST
    while run.process.poll() is None and time.monotonic() < limit:
        time.sleep(0.1)


def kill(run: Run, scene: Scene) -> str:
    run.kill()
    return KILLED


def fill_disk(run: Run, scene: Scene) -> str:
    if not scene.disk.mounted:
        return outcome(run, ("the file-size limit is reached",))
    with scene.disk.filling():
        wait_for_end(run)
    return outcome(run, ("no space left on the device",))


def make_read_only(run: Run, scene: Scene) -> str:
    exp = scene.folder / "exp"
    if not exp.is_dir():
        return outcome(run, ())
    with scene.disk.read_only(exp):
        wait_for_end(run)
    return outcome(run, ("is read-only", "permission denied"))


def damage_audio(run: Run, scene: Scene) -> str:
    """A file of audio becomes noise behind its header, or loses its end; afterwards it is as before."""
    path = scene.generator.choice(sorted(scene.corpus.rglob("audio/**/*.flac")))
    whole, times = path.read_bytes(), path.stat()
    middle = len(whole) // 2
    noise = scene.generator.randbytes(len(whole) - middle) if scene.generator.random() < 0.5 else b""
    path.write_bytes(whole[:middle] + noise)
    try:
        wait_for_end(run)
        return outcome(run, (path.name, path.stem))
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def end_worker(run: Run, scene: Scene) -> str:
    """SIGKILL for a loader worker of a training."""
    workers = [pid for pid, parent in trainings(run) if parent is not None]
    if not workers:
        run.kill()
        return "no worker at work, killed instead"
    os.kill(scene.generator.choice(workers), signal.SIGKILL)
    return outcome(run, ("loader worker",))


def preempt(run: Run, scene: Scene) -> str:
    """SIGTERM or SIGUSR1 for a training, which saves, leaves and is started again by its script."""
    leaders = [pid for pid, parent in trainings(run) if parent is None]
    if not leaders:
        run.kill()
        return "no training at work, killed instead"
    os.kill(scene.generator.choice(leaders), scene.generator.choice([signal.SIGTERM, signal.SIGUSR1]))
    return "saved, and went on by itself" if run.finish() == 0 else SILENT


def trainings(run: Run) -> list[tuple[int, int | None]]:
    """Processes of trainings of this run's session; for a worker also its parent."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            python = Path(words[0]).name.startswith("python") and "watch" not in words
            if int(fields[3]) == run.process.pid and python and any(word in COMMANDS for word in words):
                found[int(folder.name)] = int(fields[1])
    return [(pid, parent if parent in found else None) for pid, parent in found.items()]


@dataclass(frozen=True)
class Disturbance:
    """``happen`` returns how the start ended; ``fine`` are the ends that are right."""

    name: str
    happen: Callable[[Run, Scene], str]
    stages: tuple[int, ...]
    fine: tuple[str, ...]
    times: int = 1

    @property
    def kills(self) -> bool:
        return self.happen in (kill, end_worker, preempt)

    def limits(self, scene: Scene) -> list[str]:
        """What stands before the command: the limit on the size of files, where it stands in for a full disk."""
        if self.happen is not fill_disk or scene.disk.mounted:
            return []
        return ["bash", "-c", 'ulimit -f "$0" && exec "$@"', str(scene.generator.choice([20, 60, 200, 1000]))]


DISTURBANCES = (
    Disturbance("kill", kill, ALL, (KILLED,), times=3),
    Disturbance("full disk", fill_disk, ALL, (TOLD, UNNOTICED)),
    Disturbance("exp read-only", make_read_only, ALL[2:], (TOLD, UNNOTICED)),
    Disturbance("corrupt audio", damage_audio, READING, (TOLD, UNNOTICED)),
    Disturbance("worker killed", end_worker, TRAININGS, (TOLD, "no worker at work, killed instead")),
    Disturbance(
        "preemption", preempt, TRAININGS, ("saved, and went on by itself", "no training at work, killed instead")
    ),
)
