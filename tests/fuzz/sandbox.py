"""The other side of ``worker.py``: hands over cases, and says what is wrong with one."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fuzz.loaders import Files, whole_files
from tests.fuzz.worker import LONGEST, MOST, SLOWEST

ROOT = Path(__file__).parents[2]
ENOUGH = 3000  # cases of one process: what leaks slowly does not add up over a night
WHY = {
    -signal.SIGPROF: f"computed for longer than {SLOWEST:.0f} s",
    -signal.SIGALRM: f"took longer than {LONGEST:.0f} s",
    -signal.SIGKILL: "was killed, for memory most likely",
}


@dataclass
class Taken:
    """What the cases of a kind have taken.

    :param seconds: of computing, the slowest one.
    :param kilobytes: that the process has grown by, at most.
    """

    cases: int = 0
    seconds: float = 0.0
    kilobytes: int = 0

    def __str__(self) -> str:
        return f"{self.cases} cases, the slowest {self.seconds:.2f} s, {self.kilobytes / 1024:.0f} MB at most"


class Sandbox:
    """A worker, started when it is needed and again when a case has ended it."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="imlkd-fuzz-home-")
        self._whole: dict[str, Files] = {}
        self._warm: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._cases = 0
        self.taken: dict[str, Taken] = {}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._home.cleanup()

    def whole(self, kind: str) -> Files:
        """The undamaged files of a kind."""
        if kind not in self._whole:
            with tempfile.TemporaryDirectory() as folder:
                self._whole[kind] = whole_files(kind, Path(folder))
        return self._whole[kind]

    def finding(self, kind: str, files: Files) -> str:
        """What is wrong with the way these files are read; nothing when they are read, or refused in one line."""
        reply = self._asked(kind, files)
        outcome, text = reply["outcome"], reply["text"]
        if outcome == "refused":
            return "" if text and "\n" not in text and len(text) <= 3000 else f"refused, but not in one line: {text!r}"
        if outcome != "read":
            return f"{outcome}: {text}"
        return "" if reply["grown"] < MOST else f"took {reply['grown'] >> 10} MB"

    def outcome(self, kind: str, files: Files) -> str:
        """``read``, ``refused`` or a kind of failure."""
        return str(self._asked(kind, files)["outcome"])

    def _asked(self, kind: str, files: Files) -> dict[str, Any]:
        if self._cases >= ENOUGH:
            self._stop()
        if self._process is None:
            self._start()
        if kind not in self._warm:
            first = self._reply(kind, self.whole(kind), limited=False)
            assert first["outcome"] == "read", first["text"]
            self._warm.add(kind)
        reply, taken = self._reply(kind, files), self.taken.setdefault(kind, Taken())
        taken.cases += 1
        taken.seconds = max(taken.seconds, reply.get("seconds", 0.0))
        taken.kilobytes = max(taken.kilobytes, reply["grown"])
        return reply

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
        environment |= {"TMPDIR": self._home.name}
        self._errors = open(Path(self._home.name) / "stderr", "w+b")  # noqa: SIM115  # closed by _stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"], cwd=self._home.name, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._cases = 0
        self._warm.clear()

    def _reply(self, kind: str, files: Files, limited: bool = True) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        self._cases += 1
        line = b""
        try:
            pickle.dump((kind, files, limited), process.stdin)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            pass
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        status = process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace")
        self._stop()
        return {"outcome": "ended", "text": f"the reader {WHY.get(status, f'ended with {status}')}\n{said}", "grown": 0}

    def _stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
        self._process = None
