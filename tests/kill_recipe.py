"""Kill the recipe at random moments with SIGKILL, start it again each time, and compare its scores with those of an
uninterrupted run, bit for bit.

The moments are drawn over the duration of the uninterrupted run, 7 of 10 of them inside stages 2 to 4, and taken in
their order, all in one folder: what one kill leaves, the next start takes up. A moment is a stage and the seconds since
its beginning; each start counts on from where the last one was killed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INNER = (2, 3, 4)  # the stages that train and explain
DRAWN_INSIDE, NEEDED_INSIDE = 0.7, 0.6  # shares of the kills
STAGE_LINE = re.compile(r"\d\d:\d\d:\d\d stage (\d):")
BEFORE_STAGES = -1


@dataclass
class Moment:
    """``offset`` seconds after a stage has begun; ``wait`` is what is left of it for the start that meets it."""

    stage: int
    offset: float
    wait: float = 0.0


@dataclass
class Timeline:
    """When each stage of a run began, and when the run ended, in seconds."""

    begins: dict[int, float] = field(default_factory=lambda: {BEFORE_STAGES: 0.0})
    end: float = 0.0

    def moment(self, second: float) -> Moment:
        stage = max(number for number, begin in self.begins.items() if begin <= second)
        return Moment(stage, second - self.begins[stage])

    def draw(self, kills: int, seed: int) -> list[Moment]:
        """Moments in order, each with the seconds since its stage's beginning or the moment before."""
        generator = random.Random(seed)
        inside = round(DRAWN_INSIDE * kills)
        seconds = [generator.uniform(self.begins[INNER[0]], self.begins[INNER[-1] + 1]) for _ in range(inside)]
        seconds += [generator.uniform(0.0, self.end) for _ in range(kills - inside)]
        moments = [self.moment(second) for second in sorted(seconds)]
        for before, moment in zip([Moment(-2, 0.0), *moments], moments, strict=False):
            moment.wait = moment.offset - (before.offset if before.stage == moment.stage else 0.0)
        return moments


class Run:
    """One start of the recipe, in a session of its own, its output followed."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.mark = f"IMLKD_KILL_MARK={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.stage, self.last_line = BEFORE_STAGES, ""
        self.timeline = Timeline()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | (environment or {}) | {name: value}, stdin=subprocess.DEVNULL,
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._follow, args=(log,))
        self._reader.start()

    def _follow(self, log: Path) -> None:
        assert self.process.stdout is not None
        with open(log, "a", buffering=1, encoding="utf-8") as stream:
            for line in self.process.stdout:
                stream.write(line)
                self.last_line = line.strip() or self.last_line
                if found := STAGE_LINE.match(line):
                    self.stage = int(found[1])
                    self.timeline.begins[self.stage] = self.seconds()

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def finish(self) -> int:
        status = self.process.wait()
        self._reader.join()
        self.timeline.end = self.seconds()
        return status

    def reached(self, moment: Moment) -> bool:
        """Wait for a moment of this start; False when the run has ended before."""
        while self.process.poll() is None:
            begin = self.timeline.begins.get(moment.stage)
            if begin is None and self.stage > moment.stage:  # the stage asked for was not wanted any more
                begin = self.timeline.begins[self.stage]
            if begin is not None and self.seconds() >= begin + moment.wait:
                return True
            time.sleep(0.01)
        return False

    def kill(self) -> None:
        """SIGKILL for the whole process group, then for descendants that have left it; RuntimeError if any stays."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for _ in range(200):
            left = self._survivors()
            if not left:
                self._reader.join()
                return
            for number in left:
                os.kill(number, signal.SIGKILL)
            time.sleep(0.05)
        raise RuntimeError(f"processes survived SIGKILL: {left}")

    def _survivors(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes():
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    found += [int(folder.name)] if state != "Z" else []
            except OSError:
                continue  # it has just ended, or is not ours
        return found


def run_whole(command: list[str], log: Path) -> Timeline:
    """Run to the end; SystemExit with the place of the log when that fails."""
    run = Run(command, log)
    if run.finish():
        sys.exit(f"kill_recipe.py: the recipe failed ({run.last_line}): see {log}")
    return run.timeline


class Killer:
    """Kills start after start in ``folder``, a new one whenever a run comes to its end too early."""

    def __init__(self, work: Path, options: list[str]) -> None:
        self.work, self.options, self.folders = work, options, [work / "killed-1"]
        self.kills: list[int] = []

    def command(self) -> list[str]:
        return recipe(self.folders[-1], self.options)

    def log(self) -> Path:
        return self.work / f"{self.folders[-1].name}.log"

    def kill_at(self, moment: Moment, of: int) -> None:
        run = Run(self.command(), self.log())
        while not run.reached(moment):
            if run.finish():
                sys.exit(f"kill_recipe.py: started again, the recipe failed ({run.last_line}): see {self.log()}")
            self.folders.append(self.work / f"killed-{len(self.folders) + 1}")
            run = Run(self.command(), self.log())
        second, stage, last_line = run.seconds(), run.stage, run.last_line
        run.kill()
        self.kills.append(stage)
        place = "before stage 0" if stage == BEFORE_STAGES else f"in stage {stage}"
        print(f"kill {len(self.kills):2} of {of}: {place}, second {second:.1f} of this start; last line: {last_line}")


def recipe(folder: Path, options: list[str]) -> list[str]:
    return ["./run.sh", "--data", str(folder / "data"), "--exp", str(folder / "exp"), *options]


def scores(folder: Path) -> dict[str, bytes]:
    """Score files by their place below ``exp``."""
    files = [path for path in (folder / "exp").glob("*/scores/*/*") if not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def differences(whole: Path, killed: Path) -> list[str]:
    """Score files that differ or are on one side only, and temporary files that are left."""
    a, b = scores(whole), scores(killed)
    found = [f"{killed}: {name} differs" for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
    left = [path for path in killed.rglob(".*") if re.search(r"\.(tmp|new$|old$|pending$)", path.name)]
    return found + [f"{path}: is left over" for path in left] + ([] if a else [f"{whole}: no score files"])


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--conf", default="egs/minivox/conf_reduced", help="configuration of the recipe")
    parser.add_argument("--work", type=Path, help="an empty folder that is kept (default: a temporary one)")
    return parser.parse_args(arguments)


def main() -> int:
    options = options_of()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    work = (options.work or Path(tempfile.mkdtemp(prefix="imlkd-kill."))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        sys.exit(f"kill_recipe.py: {work}: not empty: choose another --work")
    arguments = ["--conf", options.conf]
    timeline = run_whole(recipe(work / "whole", arguments), work / "whole.log")
    begins = ", ".join(f"{n} at {s:.1f}" for n, s in timeline.begins.items() if n >= 0)
    print(f"uninterrupted: {timeline.end:.1f} s; stages {begins}")

    killer = Killer(work, arguments)
    for moment in timeline.draw(options.kills, options.seed):
        killer.kill_at(moment, options.kills)
    last = run_whole(killer.command(), killer.log())
    print(f"the last start took {last.end:.1f} s to the end")

    found = [line for folder in killer.folders for line in differences(work / "whole", folder)]
    for line in found:
        print(line)
    inside = sum(stage in INNER for stage in killer.kills)
    enough = inside >= int(NEEDED_INSIDE * options.kills)  # a busy machine moves a moment: of 3 kills 1 must stay
    verdict = "scores equal" if not found else "NOT equal"
    if not enough:
        verdict += f"; fewer than {NEEDED_INSIDE:.0%} in stages 2-4: try another --seed"
    print(f"killed {len(killer.kills)} times ({inside} in stages 2-4), {verdict}")
    if options.work is None and not found:
        shutil.rmtree(work)
    return 0 if not found and enough else 1


if __name__ == "__main__":
    sys.exit(main())
