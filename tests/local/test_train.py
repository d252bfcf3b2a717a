"""local/train.sh: a training that was preempted is started again, unless the machine itself is wanted back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTHING = "nothing to save yet: run the same command again"
# Leaves with 75 until it has been started three times.
TWICE = 'echo start >> "$0"; [ "$(wc -l < "$0")" -ge 3 ] || exit 75'
# Ended by a signal that it does not take, until it has been started three times.
KILLED = 'echo start >> "$0"; [ "$(wc -l < "$0")" -ge 3 ] || kill -s "$1" $$'
# Saves on request, as a training does.
PATIENT = "trap 'echo saved >> \"$0\"; exit 75' TERM USR1; echo start >> \"$0\"; while :; do sleep 0.1; done"


def start(*command: object) -> subprocess.Popen[str]:
    environment = os.environ | {"IMLKD_PYTHON": sys.executable, "IMLKD_PYTHON_CHECKED": sys.executable}
    words = ["local/train.sh", *map(str, command)]
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_started_again_until_it_ends(tmp_path: Path) -> None:
    process = start("bash", "-c", TWICE, tmp_path / "starts")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and said.splitlines() == ["local/train.sh: preempted: starting again"] * 2


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_a_signal_before_a_training_can_take_it_is_a_preemption_too(tmp_path: Path, name: str) -> None:
    process = start("bash", "-c", KILLED, tmp_path / "starts", name)
    said, _ = process.communicate(timeout=120)
    once = [f"imlkd: preempted: {NOTHING}", "local/train.sh: preempted: starting again"]
    assert process.returncode == 0 and said.splitlines() == 2 * once


def test_not_for_ever_and_not_after_an_error(tmp_path: Path) -> None:
    process = start("--restarts", 1, "bash", "-c", "echo start; exit 75")
    assert process.communicate(timeout=120)[0].count("start\n") == 2 and process.returncode == 75
    process = start("bash", "-c", "echo start; exit 3")
    assert process.communicate(timeout=120)[0] == "start\n" and process.returncode == 3


def test_a_signal_to_the_script_is_passed_on_and_nothing_starts_again(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        notes = tmp_path / number.name
        process = start("bash", "-c", PATIENT, notes)
        limit = time.monotonic() + 100
        while not notes.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(process.pid, number)
        process.communicate(timeout=120)
        assert process.returncode == 75 and notes.read_text().split() == ["start", "saved"]
