"""Copies of the recipe, commands run in them as on a terminal of their own, and what they leave on the disk."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("run.sh", "path.sh", "cmd.sh", "local", "utils", "egs", "imlkd", "requirements.txt", "requirements-dev.txt")
TINY = ("--conf", "egs/minivox/conf_tiny", "--nj", "2", "--bootstrap", "20")


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()

    def ran(self) -> list[str]:
        """What the stages said of themselves: 'stage 3 (minivox_train): up to date'."""
        return [line for line in self.out.splitlines() if re.match(r"stage \d( \(.*\))?: ", line)]


def clean_environment(**more: str) -> dict[str, str]:
    """As from a fresh shell, with the Python that runs these tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("IMLKD_") and key != "PYTHONPATH"}
    path = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if folder != str(ROOT / "utils"))
    return kept | {"PATH": path, "IMLKD_PYTHON": sys.executable} | more


@dataclass(frozen=True)
class Workspace:
    """A copy of the recipe; commands run in ``root``."""

    root: Path
    environment: dict[str, str] = field(default_factory=clean_environment)

    def start(self, *command: object, **environment: str) -> subprocess.Popen[str]:
        """In a session of its own, as on a terminal of its own; a Ctrl-C is not ignored there."""
        return subprocess.Popen(
            [str(word) for word in command], cwd=self.root, env=self.environment | environment, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def call(self, *command: object, **environment: str) -> Result:
        process = self.start(*command, **environment)
        try:
            out, err = process.communicate(timeout=1200)  # the machine may be busy
        finally:
            end_session(process.pid)
        return Result(process.returncode, out, err)

    def run(self, *options: object, **environment: str) -> Result:
        return self.call("./run.sh", *TINY, *options, **environment)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


def session_members(number: int) -> list[int]:
    """Live processes of a session; zombies are none."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdigit() else []
        except OSError:
            continue
        if fields and int(fields[3]) == number and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def end_session(number: int, grace: float = 0.0) -> list[int]:
    """Kill what is left of a session after ``grace`` seconds; returns what was."""
    limit = time.monotonic() + grace
    while (left := session_members(number)) and time.monotonic() < limit:
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return left


def contents(*folders: Path) -> dict[str, str]:
    """Digest of each file that counts as a result: no logs, locks, or parts of a data directory for parallel jobs."""
    others = re.compile(r"/(\w+_)?log/|/tensorboard/|\.lock$|/split\d+utt/")
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not others.search(str(path)):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(*folders: Path) -> list[str]:
    """Files of writes that were never finished."""
    pattern = re.compile(r"\.(tmp|new$|old$)")
    return [str(p) for folder in folders for p in folder.rglob(".*") if pattern.search(p.name)]


def logs_written_since(start: float, *folders: Path) -> str:
    paths = [path for folder in folders for path in folder.rglob("log/*") if path.is_file()]
    return "".join(path.read_text(errors="replace") for path in paths if path.stat().st_mtime >= start)


def damage(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What a run that was refused has changed, done markers of the stage it tried apart."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return sorted(name for name in names if not Path(name).name.startswith(".done"))


def selected(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """The values of a parameter that this session's tests of the requesting module take."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    return [i.callspec.params[parameter] for i in items if i.parent is request.node and parameter in i.callspec.params]
