"""The process that reads damaged files, under limits that the kernel keeps: `python -m tests.fuzz.worker`.

A case comes in as a pickled kind, mapping of names to contents, and whether limits hold; a line of JSON goes out. A
reader that computes for longer than SLOWEST or sleeps for longer than LONGEST ends the process by a signal.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import IO, Any

from imlkd.errors import UserError
from tests.fuzz.loaders import LOADERS, Files

SLOWEST = 5.0  # seconds of computing in one case
LONGEST = 300.0  # seconds on the clock: other processes run beside it
MOST = 1 << 20  # kB that all cases together may add to the process
ROOM = 4 << 30  # bytes of address space beyond what it has: the machine is not to suffer before MOST is found


def use(kind: str, files: Files, limited: bool = True) -> dict[str, Any]:
    """What became of one case: ``read``, ``refused`` in one line, or ``traceback``; and the seconds of computing."""
    folder, home = Path(tempfile.mkdtemp(prefix="imlkd-fuzz-")), os.getcwd()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    os.chdir(folder)
    signal.setitimer(signal.ITIMER_PROF, SLOWEST if limited else 0)
    signal.setitimer(signal.ITIMER_REAL, LONGEST if limited else 0)
    started = time.process_time()
    found: dict[str, Any]
    try:
        LOADERS[kind].use(folder)
        found = {"outcome": "read", "text": ""}
    except UserError as error:
        found = {"outcome": "refused", "text": str(error)}
    except Exception:
        found = {"outcome": "traceback", "text": traceback.format_exc()}
    finally:
        seconds = time.process_time() - started
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.chdir(home)
        shutil.rmtree(folder)
    planted = [str(path) for path in (Path(home, "planted"), folder.parent / "planted") if path.exists()]
    if planted:
        found = {"outcome": "planted", "text": f"a command was run: {planted}"}
    return found | {"seconds": seconds}


def serve(cases: IO[bytes], replies: IO[str]) -> None:
    """Answer until there are no more cases; what whole files take, with all that is imported, is not counted."""
    for signal_number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(signal_number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    uncounted = 0
    while True:
        try:
            kind, files, limited = pickle.load(cases)
        except EOFError:
            return
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _limit_memory(limited)
        reply = use(kind, files, limited)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        uncounted += 0 if limited and uncounted else most - (before if uncounted else 0)
        print(json.dumps(reply | {"grown": most - uncounted}), file=replies, flush=True)


def _limit_memory(limited: bool) -> None:
    """Room beyond what the process has, or no limit."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM if limited else hard, hard))


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not get between the replies
    serve(sys.stdin.buffer, own)
