"""Disturb the recipe for hours, and see that it ends each time as a quiet run does.

A quiet run comes first. Then round after round of the same recipe, each from nothing: a start is disturbed at a drawn
moment, the next start takes up what is left, until every disturbance has had its turn and the round comes to its end.
Its scores have to be those of the quiet run bit for bit, no finished stage may have been done again, no training begun
anew, and no process and no temporary file may be left. The disturbances stand in `tests/soak_disturbances.py`.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.kill_recipe import BEFORE_STAGES, Moment, Run, Timeline, differences
from tests.soak_disturbances import DISTURBANCES, Disk, Disturbance, Scene
from tests.soak_watch import Memory, adopt_orphans, bury, lost, remember, stragglers

TORCH_CACHE = "torchinductor_"  # a user's compiled code, which torch makes a folder for and keeps
CHECKPOINT_STEPS = 20  # of both trainings, so that a kill costs seconds


def small_configuration(source: Path, folder: Path) -> None:
    """The configuration of ``source`` with loader workers, and checkpoints inside epochs."""
    shutil.copytree(source, folder)
    for name in ("teacher.yaml", "student.yaml"):
        path = folder / name
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings["training"] |= {"threads": 1, "loader": {"workers": 1}, "checkpoints": {"steps": CHECKPOINT_STEPS}}
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def copy_corpus(source: Path, folder: Path, train: str, utterances: int) -> None:
    """A copy whose audio can be damaged; of ``train`` so many utterances, spread over all speakers, or all of them."""
    shutil.copytree(source, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    if utterances:
        command = ["data", "subset", str(folder / train), str(folder / "part"), "--number", str(utterances)]
        subprocess.run([sys.executable, "-m", "imlkd.cli.main", *command], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder / train)
        (folder / "part").rename(folder / train)


class Soak:
    """Quiet run and rounds in ``work``."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self.work, self.options = work, options
        self.corpus, self.disk = work / "corpus", Disk(work / "disk")
        self.generator = random.Random(options.seed)
        self.findings: list[str] = []
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.starts = self.rounds = 0
        self.timeline = Timeline()
        self.running: Run | None = None

    def command(self, folder: Path) -> list[str]:
        sets = [self.corpus / name for name in self.options.test.split(",")]
        return [
            "./run.sh", "--corpus", "kaldi", "--train", str(self.corpus / self.options.train),
            "--test", ",".join(map(str, sets)), "--trials", ",".join(str(path / "trials") for path in sets),
            "--conf", str(self.work / "conf"), "--methods", self.options.methods, "--nj", str(self.options.nj),
            "--data", str(folder / "data"), "--exp", str(folder / "exp"),
        ]  # fmt: skip

    def quiet(self) -> Path:
        """The run that nothing disturbs; SystemExit when it fails."""
        folder = self.work / "quiet"
        run = self.start(folder, [])
        if run.finish():
            sys.exit(f"soak.py: the quiet run failed ({run.last_line}): see {self.work}/quiet.log")
        self.timeline = run.timeline
        begins = ", ".join(f"{n} at {s:.0f}" for n, s in run.timeline.begins.items() if n >= 0)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self.disk.open(size)
        self.say(f"quiet run: {run.timeline.end:.0f} s, {size >> 20} MB; stages {begins}; {self.disk}")
        return folder

    def start(self, folder: Path, limits: list[str]) -> Run:
        self.starts += 1
        temporary = self.work / "tmp" / str(self.starts)
        temporary.mkdir(parents=True)
        command = [*limits, *self.command(folder)]
        environment = {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
        self.running = Run(command, self.work / f"{folder.name}.log", environment)
        return self.running

    def moments(self) -> list[tuple[Moment, Disturbance]]:
        """Each disturbance once at a moment of the quiet run, kills more often, in the order of the moments."""
        begins, end = self.timeline.begins, self.timeline.end
        ends = dict(zip(begins, [*list(begins.values())[1:], end], strict=True))
        drawn = []
        for disturbance in (d for d in DISTURBANCES for _ in range(d.times)):
            stages = [s for s in begins if s in disturbance.stages]
            weights = [ends[s] - begins[s] for s in stages]
            stage = self.generator.choices(stages, weights)[0]
            drawn.append((self.generator.uniform(begins[stage], ends[stage]), disturbance))
        drawn.sort(key=lambda pair: pair[0])
        moments = [(self.timeline.moment(second), disturbance) for second, disturbance in drawn]
        before = Moment(BEFORE_STAGES - 1, 0.0)
        for moment, _ in moments:
            moment.wait = moment.offset - (before.offset if before.stage == moment.stage else 0.0)
            before = moment
        return moments

    def round(self, ends: float, quiet: Path) -> None:
        """One recipe from nothing to its end, disturbed until ``ends``."""
        self.rounds += 1
        folder = self.disk.folder / f"round-{self.rounds}"
        folder.mkdir()
        begun, found = time.monotonic(), len(self.findings)
        for moment, disturbance in self.moments():
            if time.monotonic() > ends:
                break
            self.disturb(folder, moment, disturbance)
        run = self.start(folder, [])
        before = remember(folder)
        if run.finish():
            self.find(f"round {self.rounds}: the last start failed: {run.last_line}")
        self.look_around(run, folder, before, "the last start")
        for line in differences(quiet, folder):
            self.find(f"round {self.rounds}: {line}")
        verdict = "as the quiet run" if len(self.findings) == found else "NOT as the quiet run"
        self.say(f"round {self.rounds}: {time.monotonic() - begun:.0f} s, {verdict}")
        if len(self.findings) == found:
            shutil.rmtree(folder)
        else:
            shutil.move(folder, self.work / folder.name)

    def disturb(self, folder: Path, moment: Moment, disturbance: Disturbance) -> None:
        """One start and what happens to it."""
        before = remember(folder)
        scene = Scene(self.disk, folder, self.corpus, self.generator)
        run = self.start(folder, disturbance.limits(scene))
        reached = run.reached(moment)
        place = f"stage {run.stage}" if run.stage != BEFORE_STAGES else "the set-up"
        outcome = disturbance.happen(run, scene) if reached else "came too late"
        if not reached:
            run.finish()
        wrong = "" if outcome in disturbance.fine or not reached else f" UNEXPECTED: {run.last_line}"
        self.outcomes[f"{disturbance.name}: {outcome}"] += 1
        self.say(f"round {self.rounds}: {disturbance.name} in {place}: {outcome}{wrong}")
        if wrong:
            self.find(f"round {self.rounds}: {disturbance.name} in {place}: {outcome}: {run.last_line}")
        self.look_around(run, folder, before, f"{disturbance.name} in {place}", disturbance.kills)

    def look_around(self, run: Run, folder: Path, before: Memory, what: str, killed: bool = False) -> None:
        """Processes and temporary files that are left, and work that was done twice."""
        left = stragglers(run.process.pid)
        temporary = self.work / "tmp" / str(self.starts)
        if not killed:  # nobody clears up behind a SIGKILL in a folder for temporary files
            left += [f"temporary {path}" for path in temporary.iterdir() if not path.name.startswith(TORCH_CACHE)]
        shutil.rmtree(temporary)
        for line in [*left, *lost(folder, before)]:
            self.find(f"round {self.rounds}: {what}: {line}")

    def find(self, line: str) -> None:
        self.findings.append(line)
        self.say(f"FOUND {line}")

    def say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def error_rates(folder: Path) -> list[str]:
    """A line for each model and list: EER with its interval."""
    lines = []
    for path in sorted((folder / "exp").glob("*/metrics/*/*.json")):
        model, _, test_set, name = path.relative_to(folder / "exp").parts
        eer = json.loads(path.read_text(encoding="utf-8"))["eer"]
        low, high = (100 * eer["interval"][end] for end in ("low", "high"))
        rate = f"EER {100 * eer['value']:.2f} % [{low:.2f} %, {high:.2f} %]"
        lines.append(f"{model}, {test_set}/{Path(name).stem}: {rate}")
    return lines


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("corpus", type=Path, help="Kaldi data directories with audio beside them, e.g. svmini")
    parser.add_argument("--hours", type=float, default=2.0, help="disturb for so long after the quiet run")
    parser.add_argument("--train", default="train", help="data directory in CORPUS")
    parser.add_argument("--utterances", type=int, default=0, help="of it, 0: all")
    parser.add_argument("--test", default="test", help="data directories in CORPUS, each with `trials`")
    parser.add_argument("--conf", type=Path, default=Path("egs/minivox/conf_reduced"), help="configuration")
    parser.add_argument("--methods", default="none,imlkd", help="students")
    parser.add_argument("--nj", type=int, default=1, help="parallel jobs")
    parser.add_argument("--seed", type=int, default=1, help="of moments and places")
    parser.add_argument("--work", type=Path, help="an empty folder that is kept (default: a temporary one)")
    return parser.parse_args()


def main() -> int:
    options = options_of()
    work = (options.work or Path(tempfile.mkdtemp(prefix="imlkd-soak."))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(path.name != "soak.log" for path in work.iterdir()):
        sys.exit(f"soak.py: {work}: not empty: choose another --work")
    begun = time.monotonic()
    adopt_orphans()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    copy_corpus(options.corpus, work / "corpus", options.train, options.utterances)
    small_configuration(options.conf, work / "conf")
    soak = Soak(work, options)
    try:
        quiet = soak.quiet()
        ends = time.monotonic() + 3600 * options.hours
        while time.monotonic() < ends:
            soak.round(ends, quiet)
    except KeyboardInterrupt:
        soak.find(f"interrupted in round {soak.rounds}")
        if soak.running is not None and soak.running.process.poll() is None:
            soak.running.kill()
    finally:
        soak.disk.close()
    bury()
    print(*error_rates(work / "quiet"), sep="\n")
    print(*(f"{count:4} x {outcome}" for outcome, count in sorted(soak.outcomes.items())), sep="\n")
    print(*soak.findings, sep="\n")
    if not soak.rounds:
        soak.findings.append("no round came to its end")
    happened = sum(count for outcome, count in soak.outcomes.items() if "too late" not in outcome)
    good = "scores equal, nothing lost, no process and no temporary file left"
    verdict = f"{len(soak.findings)} findings, see above" if soak.findings else good
    hours = (time.monotonic() - begun) / 3600
    print(f"soak: {hours:.1f} h, {soak.rounds} rounds, {soak.starts} starts, {happened} disturbances: {verdict}")
    if options.work is None and not soak.findings:
        shutil.rmtree(work)
    return 1 if soak.findings else 0


if __name__ == "__main__":
    sys.exit(main())
