"""Seconds, processor seconds and peak memory of a command, taken by a small process that starts it.

Linux hands the peak memory of a process on to what it starts: ``ru_maxrss`` of a command is never below that of the
benchmark that waits for it. So the command is started, and waited for, by a process of a few MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def measured(command: list[str], environment: dict[str, str] | None = None, folder: str = ".") -> dict[str, float]:
    """``seconds``, ``cpu`` and ``mb`` of a command and what it starts; SystemExit with its last words if it fails."""
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__), *command]
    done = subprocess.run(launcher, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} ... ended with {done.returncode}: {done.stderr[-1000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run the arguments as a command, whose output is not kept, and print what it took."""
    command = sys.argv[1:]
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    _, status, usage = os.wait4(os.posix_spawnp(command[0], command, os.environ, file_actions=nowhere), 0)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
