"""`imlkd watch` around real job runners: progress, the jobs' own errors, interrupts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN_PL = str(ROOT / "utils/run.pl")
Run = Callable[..., subprocess.CompletedProcess[str]]


def job(folder: Path, text: str) -> str:
    """A script that is the job; it is called with the job's number."""
    path = folder / "job.sh"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def watched(imlkd: Run, folder: Path, script: str, nj: int = 2) -> subprocess.CompletedProcess[str]:
    log = folder / "log/work.JOB.log"
    return imlkd(
        "watch", "some work", folder / "log", "work", RUN_PL, f"JOB=1:{nj}", log, script, "JOB", folder / "log"
    )


def test_progress_of_all_jobs_is_added_up(imlkd: Run, tmp_path: Path) -> None:
    state = '{\\"count\\": $i, \\"total\\": 4, \\"note\\": \\"loss $i\\"}'
    text = f'for i in 1 2 3 4; do echo "{state}" > $2/work.$1.progress; sleep 0.4; done'
    done = watched(imlkd, tmp_path, job(tmp_path, text))
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and lines[-1] == "some work: 8/8 loss 4"
    assert all(line.startswith("some work: ") and line.split()[2].endswith("/8") for line in lines[1:])
    assert len(lines) > 2


def test_progress_of_an_earlier_run_does_not_count(imlkd: Run, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/work.7.progress").write_text('{"count": 5, "total": 9, "note": ""}')
    (tmp_path / "log/other.7.progress").write_text("{}")
    done = watched(imlkd, tmp_path, job(tmp_path, "true"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "log").glob("*.progress")) == ["other.7.progress"]


def test_the_jobs_own_error_is_repeated_once(imlkd: Run, tmp_path: Path) -> None:
    text = 'echo some lines; echo "imlkd: error: a/wav.scp:3: not there: put it back" >&2; exit 1'
    done = watched(imlkd, tmp_path, job(tmp_path, text), 3)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("imlkd:")]
    assert said == ["imlkd: error: a/wav.scp:3: not there: put it back"]


def test_errors_of_several_jobs(imlkd: Run, tmp_path: Path) -> None:
    done = watched(imlkd, tmp_path, job(tmp_path, 'echo "imlkd: error: job $1: bad"; [ $1 != 2 ] || exit 0; exit 1'), 3)
    said = [line for line in done.stderr.splitlines() if line.startswith("imlkd:")]
    assert [f"imlkd: error: job {number}: bad" in said for number in (1, 3)] == [True, True]


def test_an_error_of_an_earlier_run_is_not_repeated(imlkd: Run, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    old = tmp_path / "log/work.9.log"
    old.write_text("imlkd: error: of yesterday\n")
    os.utime(old, (time.time() - 100,) * 2)
    done = watched(imlkd, tmp_path, job(tmp_path, "exit 3"), 1)
    assert done.returncode == 1 and "yesterday" not in done.stderr


def test_a_job_that_dies_without_a_word_is_named_by_its_log(imlkd: Run, tmp_path: Path) -> None:
    done = watched(imlkd, tmp_path, job(tmp_path, "[ $1 = 1 ] || kill -9 $$"))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last == f"imlkd: error: {tmp_path}/log/work.2.log: a job ended without a message: see the end of this log"


def test_a_job_that_was_interrupted_says_so(imlkd: Run, tmp_path: Path) -> None:
    word = "imlkd: interrupted: run the same command again to go on"
    done = watched(imlkd, tmp_path, job(tmp_path, f'[ $1 = 1 ] || {{ echo "{word}"; exit 130; }}'))
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == word


def test_a_runner_that_is_not_there(imlkd: Run, tmp_path: Path) -> None:
    done = imlkd("watch", "x", tmp_path / "log", "work", "slurm.pl.gone", "JOB=1:2", "log", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "imlkd: error: slurm.pl.gone: does not start (No such file or directory): check --cmd, or cmd.sh\n"
    )


@pytest.mark.parametrize(("end", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_runners_status_is_passed_on(imlkd: Run, tmp_path: Path, end: str, status: int) -> None:
    assert imlkd("watch", "x", tmp_path / "log", "work", job(tmp_path, end)).returncode == status


def test_a_command_with_options_of_its_own(imlkd: Run, tmp_path: Path) -> None:
    done = imlkd(
        "watch", "x", tmp_path / "log", "work", job(tmp_path, 'printf "%s|" "$@"'), "--help", "-x", "--", "a b"
    )
    assert (done.returncode, done.stdout) == (0, "--help|-x|--|a b|")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_job_outlives_an_interrupt(tmp_path: Path, number: signal.Signals) -> None:
    """A Ctrl-C reaches all of the terminal's processes, SIGTERM the watcher alone."""
    script = job(tmp_path, f"echo $$ > {tmp_path}/pid.$1; exec sleep 60")
    command = [sys.executable, "-m", "imlkd.cli.main", "watch", "x", str(tmp_path / "log"), "work", RUN_PL, "JOB=1:2"]
    command += [str(tmp_path / "log/work.JOB.log"), script, "JOB"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(200):
        if len(list(tmp_path.glob("pid.*"))) == 2 and all(path.read_text() for path in tmp_path.glob("pid.*")):
            break
        time.sleep(0.05)
    numbers = [int(path.read_text()) for path in tmp_path.glob("pid.*")]
    assert len(numbers) == 2
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "imlkd: interrupted: run the same command again to go on" in said
    for _ in range(40):
        if not any(Path(f"/proc/{number}").exists() for number in numbers):
            return
        time.sleep(0.05)
    raise AssertionError("a job is still there")
