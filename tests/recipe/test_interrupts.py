"""Ctrl-C in every stage: one line, nothing left running or half-written, and the same command goes on to the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipe.workspaces import Result, Workspace, end_session, leftovers, logs_written_since, session_members

# What each stage leaves that makes it, and all after it, up to date.
MARKERS = {
    0: "data/.done.minivox",
    1: "data/*/.done.features",
    2: "exp/minivox_teacher/.done",
    3: "exp/minivox_teacher/targets_*/.done*",
    4: "exp/minivox_[nki]*/.done",
    5: "exp/*/xvectors_*/.done",
    6: "exp/*/scores/*/.done.*",
    7: "exp/.done.[rp]*",
}


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> str:
    """Read standard output until a line matches."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if re.search(pattern, line):
            return read
    raise AssertionError(f"no line {pattern}: {read}{process.stderr.read() if process.stderr else ''}")


def interrupt(workspace: Workspace, pattern: str, delay: float, *options: str) -> Result:
    """Start the recipe, and send what a terminal sends on Ctrl-C ``delay`` seconds after a line of its output."""
    process = workspace.start("./run.sh", "--conf", "egs/minivox/conf_tiny", "--nj", "2", *options)
    try:
        read = wait_for_line(process, pattern)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        alive = end_session(process.pid, grace=2.0)
    finally:
        end_session(process.pid)
    assert alive == [], "processes went on running"
    return Result(process.returncode, read + out, err)


def tell_stage_stale(root: Path, stage: int) -> None:
    markers = list(root.glob(MARKERS[stage]))
    assert markers
    for marker in markers:
        marker.unlink()


def check_interrupted(result: Result, workspace: Workspace, start: float, place: str) -> None:
    assert result.status == 130, result.err
    assert result.lines[-1] == f"./run.sh: interrupted in {place}: run the same command again to go on"
    folders = (workspace.root / "data", workspace.root / "exp")
    assert "Traceback" not in result.out + result.err + logs_written_since(start, *folders)
    assert leftovers(*folders) == []


@pytest.mark.parametrize("stage", [pytest.param(one, marks=[pytest.mark.slow] * (one in (1, 7))) for one in MARKERS])
def test_in_a_stage(stage: int, workspace: Workspace) -> None:
    options = ("--stage", str(stage), "--stop-stage", str(stage), "--methods", "none")
    tell_stage_stale(workspace.root, stage)
    if stage == 0:  # or its voices would all be there
        for folder in workspace.root.glob("data/wav/*"):
            (folder / "made.json").unlink()
    start = time.time()
    result = interrupt(workspace, rf"^stage {stage}.*: (not done yet|.* is missing)", 0.5, *options)
    check_interrupted(result, workspace, start, f"stage {stage}")
    again = workspace.run(*options)
    assert again.status == 0, again.err
    assert not all(line.endswith(": up to date") for line in again.ran()), "it was interrupted too late"
    assert leftovers(workspace.root / "data", workspace.root / "exp") == []


def test_before_the_stages(code: Workspace, tmp_path: Path) -> None:
    """Python's start, the imports of torch, the shell between two commands."""
    for delay in (0.02, 0.06, 0.1, 0.2, 0.4, 0.7, 1.0, 1.4):
        process = code.start("./run.sh", "--data", tmp_path / "data", "--exp", tmp_path / "exp")
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in out + err
        assert end_session(process.pid, grace=2.0) == []
        if delay > 0.1:  # before that, bash itself may not have begun
            assert process.returncode == 130 and err.splitlines()[-1].startswith("./run.sh: interrupted in the set-up")


@pytest.fixture
def orphaned(workspace: Workspace) -> Iterator[Workspace]:
    """Stage 3 is at work, run.sh has been killed alone: its jobs live on."""
    tell_stage_stale(workspace.root, 3)
    process = workspace.start("./run.sh", "--conf", "egs/minivox/conf_tiny", "--nj", "2", "--stage", "3")
    wait_for_line(process, r"segments: \d+ segments")
    time.sleep(1.0)
    process.kill()
    process.wait()
    assert session_members(process.pid)
    yield workspace
    end_session(process.pid)


def test_jobs_that_outlive_the_recipe_keep_its_lock(orphaned: Workspace) -> None:
    refused = orphaned.run("--stage", "3", "--stop-stage", "3")
    assert refused.status == 1
    assert refused.lines[-1] == "./run.sh: another run is at work in exp: wait for it, or choose another --exp"
