"""run.pl: the command line, the logs and the exit codes of Kaldi's job runners; nothing is left running."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RUN_PL = Path(__file__).resolve().parents[2] / "utils" / "run.pl"
Call = Callable[..., subprocess.CompletedProcess[str]]
DATE = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \w+ \d{4}"


def test_log(call: Call, tmp_path: Path) -> None:
    result = call("run.pl", "log dir/a.log", "bash", "-c", "echo out; echo err >&2; exit 3", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "run.pl: job failed, log is in log dir/a.log",
        "run.pl: log dir/a.log ends with: err",
    ]
    lines = (tmp_path / "log dir" / "a.log").read_text().splitlines()
    assert lines[0] == '# bash -c "echo out; echo err >&2; exit 3"'
    assert re.fullmatch(f"# Started at {DATE}", lines[1])
    assert lines[2:5] == ["#", "out", "err"]
    assert re.fullmatch(r"# Accounting: time=\d+ threads=1", lines[5])
    assert re.fullmatch(rf"# Ended \(code 3\) at {DATE}, elapsed time \d+ seconds", lines[6])
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("words", "command", "output"),
    [
        (["echo", "a", "b"], "echo a b", "a b"),
        (["echo", "a  b"], 'echo "a  b"', "a  b"),
        (["echo", 'a "b"  c'], "echo 'a \"b\"  c'", 'a "b"  c'),
        (["echo", "it's  a"], 'echo "it\'s  a"', "it's  a"),
        (["echo", 'it\'s "a"  b'], "echo 'it'\\''s \"a\"  b'", 'it\'s "a"  b'),
        (["echo", "", "x"], 'echo "" x', " x"),
        (["echo", "a", "|", "tr", "a", "b"], "echo a | tr a b", "b"),
        (["echo", "a", ";", "echo", "b"], "echo a ; echo b", "a\nb"),
        (["echo", "$((1+1))"], "echo $((1+1))", "2"),
        (["cat"], "cat", ""),
    ],
)
def test_quoting(call: Call, tmp_path: Path, words: list[str], command: str, output: str) -> None:
    log = tmp_path / "a.log"
    assert call("run.pl", log, *words).returncode == 0
    lines = log.read_text().splitlines()
    assert lines[0] == f"# {command}"
    assert "\n".join(lines[3:-2]) == output


def test_job_array(call: Call, tmp_path: Path) -> None:
    result = call("run.pl", "JOB=2:4", "d.JOB/x.JOB.log", "echo", "JOB", "aJOBb", "part JOB", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for job in (2, 3, 4):
        lines = (tmp_path / f"d.{job}" / f"x.{job}.log").read_text().splitlines()
        assert lines[0] == f'# echo {job} a{job}b "part {job}"'
        assert lines[3] == f"{job} a{job}b part {job}"
    assert not (tmp_path / "d.1").exists() and not (tmp_path / "d.JOB").exists()


@pytest.mark.parametrize("word", ["JOB", "n", "Part_1"])
def test_any_word_for_job(call: Call, tmp_path: Path, word: str) -> None:
    assert call("run.pl", f"{word}=7", f"x{word}x.log", "true", cwd=tmp_path).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x7x.log"]


@pytest.mark.parametrize(
    "options",
    [
        ["--mem", "4G"],
        ["--num-threads", "4", "--max-jobs-run", "1"],
        ["-tc", "2", "-pe", "smp", "4", "-V"],
        ["-l", "mem_free=4G", "-sync", "y"],
        ["--gpu", "0", "--whatever", "x"],
    ],
)
@pytest.mark.parametrize("range_first", [False, True])
def test_options_of_a_grid_are_passed_over(call: Call, tmp_path: Path, options: list[str], range_first: bool) -> None:
    head = ["JOB=1:2", *options] if range_first else [*options, "JOB=1:2"]
    result = call("run.pl", *head, "a.JOB.log", "echo", "hello", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "a.2.log").read_text().splitlines()[3] == "hello"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["JOB=0:3", "a.JOB.log", "true"], "JOB=0:3: jobs count from 1"),
        (["JOB=3:2", "a.JOB.log", "true"], "JOB=3:2: the range ends before it begins"),
        (["JOB=1:x", "a.JOB.log", "true"], "'JOB=1:x' is no job range"),
        (["JOB=1:", "a.JOB.log", "true"], "'JOB=1:' is no job range"),
        (["JOB=1:2", "a.log", "true"], "a.log: one log file for jobs 1 to 2, put JOB into its name"),
        (["--max-jobs-run", "0", "a.log", "true"], "--max-jobs-run takes a whole number from 1"),
        (["--pick", "some", "a.log", "true"], "--pick takes all, failed or incomplete"),
        (["--gpu", "x", "a.log", "true"], "--gpu takes a whole number"),
        (["--mem"], "option --mem needs a value"),
    ],
)
def test_refused(call: Call, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = call("run.pl", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"run.pl: {message}") and len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_log_that_cannot_be_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("a file\n")
    result = call("run.pl", "exp/log/a.log", "touch", "ran", cwd=tmp_path)
    assert result.returncode == 1 and "exp/log/a.log: the log cannot be written" in result.stderr
    assert not (tmp_path / "ran").exists()


def test_failed_jobs_are_counted_and_all_run(call: Call, tmp_path: Path) -> None:
    result = call("run.pl", "JOB=1:4", "x.JOB.log", "echo", "no JOB", ";", "exit", "$((JOB%2))", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "run.pl: 2 / 4 failed, log is in x.*.log",
        "run.pl: x.1.log ends with: no 1",
    ]
    assert ["code 1", "code 0", "code 1", "code 0"] == [
        re.findall(r"# Ended \((.*)\)", (tmp_path / f"x.{n}.log").read_text())[0] for n in (1, 2, 3, 4)
    ]


def test_killed_job_fails_with_its_signal(call: Call, tmp_path: Path) -> None:
    assert call("run.pl", "a.log", "kill", "-9", "$$", cwd=tmp_path).returncode == 1
    assert "# Ended (code 0; signal 9) at" in (tmp_path / "a.log").read_text()


def test_output_without_newline_keeps_the_trailer_apart(call: Call, tmp_path: Path) -> None:
    assert call("run.pl", "a.log", "printf", "abc", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.log").read_text().splitlines()[3:4] == ["abc"]


def test_last_words_skip_a_progress_bar(call: Call, tmp_path: Path) -> None:
    result = call("run.pl", "a.log", "printf", "10%%\\r 90%%\\rerror: x\\n", ";", "false", cwd=tmp_path)
    assert result.stderr.splitlines()[-1] == "run.pl: a.log ends with: error: x"


def test_jobs_at_a_time(call: Call, tmp_path: Path) -> None:
    count = "mkdir run.JOB; ls -d run.* | wc -l; sleep 0.4; rmdir run.JOB"
    result = call("run.pl", "--max-jobs-run", 2, "JOB=1:5", "a.JOB.log", "eval", count, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    together = [int((tmp_path / f"a.{n}.log").read_text().splitlines()[3]) for n in range(1, 6)]
    assert max(together) == 2


# ---------------------------------------------------------------------------------------------- --pick


@pytest.mark.parametrize(
    ("pick", "ran", "code"),
    [("all", [1, 2, 3, 4], 0), ("failed", [2, 3, 4], 0), ("incomplete", [3, 4], 1)],
)
def test_pick(call: Call, tmp_path: Path, pick: str, ran: list[int], code: int) -> None:
    """Job 1 had ended well, 2 had failed, 3 had no trailer, 4 no log."""
    fail_second = ["exit", "$((JOB==2))"]
    assert call("run.pl", "JOB=1:3", "x.JOB.log", "true", "&&", *fail_second, cwd=tmp_path).returncode == 1
    third = tmp_path / "x.3.log"
    third.write_text("\n".join(third.read_text().splitlines()[:3]) + "\n")
    result = call("run.pl", "--pick", pick, "JOB=1:4", "x.JOB.log", "touch", "ran.JOB", cwd=tmp_path)
    assert sorted(int(p.suffix[1:]) for p in tmp_path.glob("ran.*")) == ran
    assert result.returncode == code
    assert ("1 / 4 failed" in result.stderr) == bool(code)


# ---------------------------------------------------------------------------------------------- GPUs


def fake_gpus(folder: Path, count: int) -> str:
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n" + "".join(f"echo 'GPU {n}: Some Name (UUID: GPU-{n})'\n" for n in range(count)))
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"


SHOW_GPUS = ["echo", "gpus=$CUDA_VISIBLE_DEVICES", ";", "sleep", "0.2"]


def visible(folder: Path, jobs: int) -> list[str]:
    return [(folder / f"a.{n}.log").read_text().splitlines()[3][5:] for n in range(1, jobs + 1)]


def test_each_job_sees_gpus_of_its_own(call: Call, tmp_path: Path) -> None:
    path = fake_gpus(tmp_path, 3)
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    command = [str(RUN_PL), "--gpu", "1", "JOB=1:3", "a.JOB.log", *SHOW_GPUS]
    subprocess.run(command, cwd=tmp_path, env={**env, "PATH": path}, check=True, timeout=30)
    assert sorted(visible(tmp_path, 3)) == ["0", "1", "2"]


def test_several_gpus_a_job(call: Call, tmp_path: Path) -> None:
    command = ["--gpu", 2, "JOB=1:2", "a.JOB.log", *SHOW_GPUS]
    result = call("run.pl", *command, cwd=tmp_path, CUDA_VISIBLE_DEVICES="4,5,6,7")
    assert result.returncode == 0 and sorted(visible(tmp_path, 2)) == ["4,5", "6,7"]


def test_no_gpu_is_said(call: Call, tmp_path: Path) -> None:
    result = call("run.pl", "--gpu", 1, "JOB=1:2", "a.JOB.log", *SHOW_GPUS, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 0
    assert "warning: --gpu 1, but CUDA_VISIBLE_DEVICES names 0" in result.stderr


# ---------------------------------------------------------------------------------------------- stopping


def processes_of(folder: Path) -> list[int]:
    """Live processes that work in a folder, as the kernel sees them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            works_here = entry.name.isdigit() and (entry / "cwd").resolve() == folder
            if works_here and "Z (" not in (entry / "status").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture
def without_nohup() -> Iterator[None]:
    """run.pl leaves SIGHUP ignored where it finds it so, as under nohup; these tests may run there."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


JOBS = {
    "plain": ["touch", "up.JOB", ";", "sleep", "60"],
    "background": ["sleep", "60", "&", "touch", "up.JOB", ";", "sleep", "60", ";", "true"],
    "deaf": ["trap", "''", "INT", "TERM", ";", "touch", "up.JOB", ";", "sleep", "60", ";", "sleep", "60"],
    "nested": ["bash", "-c", f"{RUN_PL} in.JOB.log touch up.JOB \\; sleep 60"],
}


@pytest.mark.parametrize(
    ("kind", "number", "to_group"),
    [
        ("plain", signal.SIGTERM, False),
        ("plain", signal.SIGINT, True),
        ("background", signal.SIGINT, True),
        ("background", signal.SIGHUP, False),
        ("deaf", signal.SIGTERM, True),
        ("nested", signal.SIGTERM, False),
    ],
)
@pytest.mark.usefixtures("without_nohup")
def test_a_signal_ends_the_jobs(workplace: Path, kind: str, number: signal.Signals, to_group: bool) -> None:
    """To the process alone, or to its group as Ctrl-C does."""
    command = [str(RUN_PL), "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", *JOBS[kind]]
    runner = subprocess.Popen(command, cwd=workplace, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert wait_for(lambda: len(list(workplace.glob("up.*"))) == 2)
    (os.killpg if to_group else os.kill)(runner.pid, number)
    _, stderr = runner.communicate(timeout=15)
    assert runner.returncode == -number  # so that a calling shell stops too
    assert f"run.pl: stopped by {number.name}" in stderr
    assert processes_of(workplace) == []
    assert not (workplace / "x.3.log").exists()
    for log in workplace.glob("x.*.log"):
        assert "# Ended" not in log.read_text()  # for --pick incomplete


def test_a_script_stops_on_ctrl_c(workplace: Path) -> None:
    script = workplace / "recipe.sh"
    script.write_text(f"set -euo pipefail\n'{RUN_PL}' x.log touch up.1 \\; sleep 60\ntouch went-on\n")
    recipe = subprocess.Popen(["bash", str(script)], cwd=workplace, stderr=subprocess.PIPE, start_new_session=True)
    assert wait_for((workplace / "up.1").exists)
    os.killpg(recipe.pid, signal.SIGINT)
    recipe.communicate(timeout=15)
    assert recipe.returncode != 0
    assert processes_of(workplace) == []
    assert not (workplace / "went-on").exists()
