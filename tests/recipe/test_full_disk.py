"""A full disk in the middle of a stage: one line names the file, what was there stays, with room again it goes on."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imlkd.attribution.journal import Journal
from tests.recipe.workspaces import Result, Workspace, contents, damage, leftovers, logs_written_since

PAGE = 4096
# Stage -> KB that are left on the disk, and the largest file in KB, both less than the stage needs.
ROOM = {0: (400, 60), 1: (120, 100), 2: (120, 100), 3: (120, 40), 4: (120, 100), 5: (28, 15)}


def options(stage: int) -> tuple[str, ...]:
    return ("--stage", str(stage), "--stop-stage", str(stage), "--methods", "none")


def without_voices(root: Path) -> None:
    """Stage 0 keeps voices that are there: let it make them anew."""
    shutil.rmtree(root / "data/wav")


def check_refused(result: Result, words: str, before: dict[str, str], root: Path, start: float) -> None:
    folders = (root / "data", root / "exp")
    assert result.status == 1, result.out + result.err
    line = result.lines[-1]
    assert line.startswith("imlkd: error: ") and words in line, result.err
    assert any(f" {folder}/" in line for folder in ("data", "exp", *folders)), line
    assert "Traceback" not in result.out + result.err + logs_written_since(start, *folders)
    after = contents(*folders)
    kept = journals(after)
    assert damage(before, {name: digest for name, digest in after.items() if name not in kept}) == []
    assert leftovers(*folders) == [] and all(map(is_whole, kept))


def journals(found: dict[str, str]) -> list[str]:
    """Those of stage 3: no leftovers, but what the same command goes on from."""
    return [name for name in found if Path(name).name.startswith(".journal.")]


def is_whole(name: str) -> bool:
    """Whether a journal holds finished utterances and not a byte of a half-written one."""
    made_from = Path(name).read_bytes().partition(b"\n")[0].decode().removeprefix("imlkd journal of ")
    copy = Path(shutil.copy2(name, f"{name}.copy"))
    journal = Journal(copy, made_from)
    copy.unlink()
    return bool(journal.keys) and journal.cut_off == 0


@pytest.fixture
def small_disk(finished: Workspace, tmp_path: Path) -> Iterator[Path]:
    """A file system in memory that a finished run just fits on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is refused ({mounted.stderr.strip()}); the file-size limit stands in (slow tests)")
    shutil.copytree(finished.root, disk / "imlkd")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves ``left`` KB."""
    filler, free = disk / "filler", shutil.disk_usage(disk).free
    with open(filler, "wb") as stream:
        for _ in range((free - left * 1024) // PAGE):
            stream.write(bytes(PAGE))
    return filler


@pytest.mark.parametrize("stage", [0, 1, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (2, 3, 4))])
def test_no_space_left(stage: int, small_disk: Path) -> None:
    workspace = Workspace(small_disk / "imlkd")
    if stage == 0:
        without_voices(workspace.root)
    before, start = contents(workspace.root / "data", workspace.root / "exp"), time.time()
    filler = fill(small_disk, ROOM[stage][0])
    result = workspace.run(*options(stage), "--force", "true")
    check_refused(result, "no space left on the device: free some", before, workspace.root, start)
    filler.unlink()
    kept, start = journals(contents(workspace.root / "exp")), time.time()
    again = workspace.run(*options(stage))
    assert again.status == 0, again.err
    assert not all(line.endswith(": up to date") for line in again.ran())
    assert logs_written_since(start, workspace.root / "exp").count("utterances are done already") == len(kept)
    assert journals(contents(workspace.root / "exp")) == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ROOM)
def test_file_size_limit(stage: int, workspace: Workspace) -> None:
    if stage == 0:
        without_voices(workspace.root)
    before, start = contents(workspace.root / "data", workspace.root / "exp"), time.time()
    limited = ("bash", "-c", 'ulimit -f "$0" && exec "$@"', ROOM[stage][1], "./run.sh")
    tiny = ("--conf", "egs/minivox/conf_tiny", "--nj", "2", "--bootstrap", "20")
    result = workspace.call(*limited, *tiny, *options(stage), "--force", "true")
    check_refused(result, "the file-size limit is reached: raise it", before, workspace.root, start)
