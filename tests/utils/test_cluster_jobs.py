"""slurm.pl and queue.pl: run.pl's command line, options by conf/*.conf, one array job that is waited for.

The cluster is a folder of small programs; tests/slurm.sh runs a real Slurm.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]
SBATCH = r"""
echo "$*" >> "$CLUSTER/submitted"
[ ! -f "$CLUSTER/refuse" ] || { echo "sbatch: error: no such partition" >&2; exit 1; }
echo 42
while [ "$1" != --array ]; do shift; done
range=${2%%%*}
for task in $(seq ${range/-/ }); do
  [ "$task" != "$(cat "$CLUSTER/lost" 2> /dev/null)" ] || continue
  (SLURM_JOB_ID=42$task SLURM_ARRAY_TASK_ID=$task setsid bash "${@: -1}" > /dev/null 2>&1 &)
done
"""
SQUEUE = 'cat "$CLUSTER/queue" 2> /dev/null; exit 0'
SCONTROL = r"""
echo "$*" >> "$CLUSTER/told"
case $1 in
  show) echo "JobId=${@: -1} JobState=$(cat "$CLUSTER/state" 2> /dev/null || echo RUNNING) Reason=None" ;;
  requeue)
    task=${2#42}
    (SLURM_JOB_ID=$2 SLURM_ARRAY_TASK_ID=$task setsid bash "$(sed 's/.* //' "$CLUSTER/submitted")" > /dev/null 2>&1 &)
    kill "$PPID"
    ;;
esac
"""
SCANCEL = 'echo "scancel $*" >> "$CLUSTER/told"'
QSUB = r"""
echo "$*" >> "$CLUSTER/submitted"
while [ "$1" != -t ]; do shift; done
echo "Your job-array 7.$2:1 (\"name\") has been submitted"
for task in $(seq ${2/:/ }); do
  (export SGE_TASK_ID=$task; while bash "${@: -1}" > /dev/null 2>&1; [ $? = 99 ]; do :; done &)
done
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cluster"
    folder.mkdir()
    programs = {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "scancel": SCANCEL, "qsub": QSUB}
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    (folder / "queue").write_text("1 RUNNING\n2 RUNNING\n3 PENDING\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(folder))
    monkeypatch.setenv("IMLKD_POLL_SECONDS", "0.3")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return folder


@pytest.mark.parametrize("runner", ["slurm.pl", "queue.pl"])
def test_jobs_and_their_logs(cluster: Path, call: Call, tmp_path: Path, runner: str) -> None:
    words = ("echo", "JOB", "a  b", 'it\'s "c"  d', "|", "tr", "a", "x")
    result = call(runner, "JOB=2:3", "log dir/a.JOB.log", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""
    for job in (2, 3):
        lines = (tmp_path / f"log dir/a.{job}.log").read_text().splitlines()
        assert lines[0] == f"# echo {job} \"a  b\" 'it'\\''s \"c\"  d' | tr a x"
        assert re.match(r"# Started at \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \w+ \d{4} on ", lines[1])
        assert lines[2:4] == ["#", f"{job} x  b it's \"c\"  d"]
        assert lines[-1].startswith("# Ended (code 0) at ") and lines[-2].startswith("# Accounting: time=")


@pytest.mark.parametrize("runner", ["slurm.pl", "queue.pl"])
def test_failed_jobs(cluster: Path, call: Call, tmp_path: Path, runner: str) -> None:
    result = call(runner, "JOB=1:3", "a.JOB.log", "exit", "$((JOB/3*4))", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"{runner}: 1 / 3 failed, log is in a.*.log, what the cluster says in ./q/a.out\n"
    assert (tmp_path / "a.3.log").read_text().splitlines()[-1].startswith("# Ended (code 4)")


def test_what_slurm_is_asked_for(cluster: Path, call: Call, tmp_path: Path) -> None:
    options = ("--mem", "4G", "--num-threads", 2, "--gpu", 1, "--nodes", 2, "--time", "1:00:00", "--max-jobs-run", 2)
    assert call("slurm.pl", *options, "JOB=1:3", "a.JOB.log", "true", cwd=tmp_path).returncode == 0
    asked = (cluster / "submitted").read_text()
    assert asked.startswith("--requeue --open-mode=append --signal=B:USR1@120 ")
    for words in ("--mem 4G", "--cpus-per-task 2", "--gpus-per-node 1", "--nodes 2", "--time 1:00:00", "--array 1-3%2"):
        assert f" {words} " in asked
    (cluster / "submitted").unlink()
    assert call("slurm.pl", "--gpu", 0, "--nodes", 1, "a.log", "true", cwd=tmp_path).returncode == 0
    asked = (cluster / "submitted").read_text()
    assert "gpu" not in asked and "nodes" not in asked and " --array 1-1 " in asked


def test_what_grid_engine_is_asked_for(cluster: Path, call: Call, tmp_path: Path) -> None:
    options = ("--mem", "4G", "-pe", "smp", 2, "-tc", 2)
    assert call("queue.pl", *options, "JOB=1:3", "a.JOB.log", "true", cwd=tmp_path).returncode == 0
    asked = (cluster / "submitted").read_text()
    for words in ("-S /bin/bash -V -cwd -r y -notify", "-l mem_free=4G,ram_free=4G", "-pe smp 2", "-tc 2", "-t 1:3"):
        assert words in asked


def test_a_configuration_of_ones_own(cluster: Path, call: Call, tmp_path: Path) -> None:
    own = tmp_path / "conf" / "slurm.conf"
    own.parent.mkdir()
    own.write_text("# ours\ncommand sbatch --qos low\noption mem=0\noption mem=* --mem-per-cpu=$0\ndefault mem=1G\n")
    assert call("slurm.pl", "a.log", "true", cwd=tmp_path).returncode == 0
    assert (cluster / "submitted").read_text().startswith("--qos low --mem-per-cpu=1G --parsable ")
    result = call("slurm.pl", "--time", "1:00", "a.log", "true", cwd=tmp_path)
    assert result.returncode == 1 and "option --time 1:00: conf/slurm.conf has no line for it" in result.stderr
    own.write_text("command sbatch\nmem 4G\n")
    result = call("slurm.pl", "a.log", "true", cwd=tmp_path)
    assert result.stderr == (
        "slurm.pl: conf/slurm.conf line 2: 'mem 4G' is neither command, option K=V WORDS nor default K=V\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["JOB=1:2", "a.log", "true"], "a.log: one log file for jobs 1 to 2, put JOB into its name"),
        (["JOB=0:2", "a.JOB.log", "true"], "jobs count from 1"),
        (["JOB=3:2", "a.JOB.log", "true"], "the range ends before it begins"),
        (["JOB=1:x", "a.JOB.log", "true"], "is no job range"),
        (["--max-jobs-run", "0", "a.log", "true"], "takes a whole number from 1"),
        (["--mem"], "option --mem needs a value"),
        (["a.log"], "usage: slurm.pl"),
    ],
)
def test_refusals(cluster: Path, call: Call, tmp_path: Path, words: list[str], said: str) -> None:
    result = call("slurm.pl", *words, cwd=tmp_path)
    assert result.returncode == 1 and said in result.stderr
    assert not (cluster / "submitted").exists()


def test_a_cluster_that_takes_no_job(cluster: Path, call: Call, tmp_path: Path) -> None:
    (cluster / "refuse").touch()
    result = call("slurm.pl", "a.log", "true", cwd=tmp_path)
    assert result.returncode == 1 and "the cluster takes no job: sbatch: error: no such partition" in result.stderr


def test_a_job_that_is_gone(cluster: Path, call: Call, tmp_path: Path) -> None:
    """Cancelled, or lost with its machine and not queued again: the queue no longer names it."""
    (cluster / "lost").write_text("2")
    (cluster / "queue").write_text("1 RUNNING\n2 CANCELLED\n")
    result = call("slurm.pl", "JOB=1:2", "a.JOB.log", "true", cwd=tmp_path)
    assert result.returncode == 1 and "slurm.pl: 1 / 2 failed" in result.stderr


@pytest.mark.parametrize("runner", ["slurm.pl", "queue.pl"])
def test_75_is_started_again(cluster: Path, call: Call, tmp_path: Path, runner: str) -> None:
    command = 'echo start >> starts; [ "$(wc -l < starts)" -ge 3 ] || exit 75'
    result = call(runner, "a.log", "bash", "-c", command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "starts").read_text().count("start") == 3
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert sum(line.startswith("# Started again at ") for line in lines) == 2
    assert sum(line.startswith("# Given back to the cluster at ") for line in lines) == 2


def test_not_for_ever(cluster: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMLKD_RESTARTS", "2")
    result = call("slurm.pl", "a.log", "bash", "-c", "echo start >> starts; exit 75", cwd=tmp_path)
    assert result.returncode == 1 and (tmp_path / "starts").read_text().count("start") == 3
    assert "# Ended (code 75)" in (tmp_path / "a.log").read_text()


def test_what_slurm_has_taken_itself_is_left_to_it(cluster: Path, call: Call, tmp_path: Path) -> None:
    """A node failed, or the job was cancelled: no code, so that the runner waits for what Slurm does."""
    (cluster / "state").write_text("COMPLETING")
    command = [str(ROOT / "utils/slurm.pl"), "a.log", "exit", "130"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    until(lambda: (tmp_path / "a.log").exists() and "# Left" in (tmp_path / "a.log").read_text())
    (cluster / "queue").write_text("")
    process.communicate(timeout=60)
    assert process.returncode == 1 and not (tmp_path / "q/a.1.code").exists()
    assert "requeue" not in (cluster / "told").read_text()
    assert (tmp_path / "a.log").read_text().splitlines()[-1].startswith("# Left to Slurm (code 130) at ")


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_signal_takes_the_jobs_off(cluster: Path, tmp_path: Path) -> None:
    command = [str(ROOT / "utils/slurm.pl"), "a.log", "sleep", "3"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "a.log").exists() and "# Started" in (tmp_path / "a.log").read_text())
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and said == "slurm.pl: job 42 taken off the cluster\n"
    assert (cluster / "told").read_text() == "scancel 42\n"
