"""What `tests/soak.sh` watches: it sees processes that stay and work done twice, and draws its moments right."""

from __future__ import annotations

import argparse
import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import soak_watch
from tests.kill_recipe import BEFORE_STAGES
from tests.soak import Soak
from tests.soak_disturbances import DISTURBANCES, Disk
from tests.soak_watch import lost, remember, stragglers


def test_processes_that_stay_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_watch, "GRACE", 0.2)
    monkeypatch.setattr(soak_watch, "bury", lambda: None)
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    zombie = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert [line.split()[:2] for line in stragglers(sleeper.pid)] == [["process", str(sleeper.pid)]]
    assert f"{zombie.pid} (Z)" in stragglers(zombie.pid)[0]
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait(), zombie.wait()
    assert stragglers(sleeper.pid) == stragglers(zombie.pid) == []


def test_work_that_is_done_twice_is_named(tmp_path: Path) -> None:
    for name in (".done", "b/.done.features", "exp/m/checkpoints/000000040.ab.pt", "exp/m/checkpoints/000000060.cd.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("made")
    before = remember(tmp_path)
    assert lost(tmp_path, before) == []
    (tmp_path / ".done").unlink()
    (tmp_path / "b/.done.features").write_text("made again")
    (tmp_path / "exp/m/checkpoints/000000060.cd.pt").unlink()
    found = lost(tmp_path, before)
    assert [line.split(":")[0] for line in found] == [".done is gone", "b/.done.features is made again", "m began anew"]
    (tmp_path / "exp/m/checkpoints/000000080.ef.pt").write_text("made")
    assert len(lost(tmp_path, before)) == 2


def test_every_disturbance_has_its_turn_in_its_stages(tmp_path: Path) -> None:
    soak = Soak(tmp_path, argparse.Namespace(seed=1))
    soak.timeline.begins |= {stage: 10.0 * (stage + 1) for stage in range(8)}
    soak.timeline.end = 90.0
    drawn = soak.moments()
    assert collections.Counter(d.name for _, d in drawn) == {d.name: d.times for d in DISTURBANCES}
    places = [(moment.stage, moment.offset) for moment, _ in drawn]
    assert places == sorted(places) and all(moment.stage in d.stages for moment, d in drawn)
    assert all(moment.wait <= moment.offset and moment.stage >= BEFORE_STAGES for moment, _ in drawn)


def test_without_mounts_permissions_stand_in(tmp_path: Path) -> None:
    (tmp_path / "exp/m").mkdir(parents=True)
    disk = Disk(tmp_path / "disk")
    write = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", str(tmp_path / "exp/m/x")]
    with disk.read_only(tmp_path / "exp"):
        assert (tmp_path / "exp/m").stat().st_mode & 0o222 == 0
        refused = subprocess.run(write, capture_output=True).returncode
    assert refused or os.getuid() == 0  # root may write anyway
    subprocess.run(write, check=True)


# Eight stages that leave a file and a marker each; what is wrong is said as the recipe says it.
RECIPE = """
exec 2>&1
fail() { echo "imlkd: error: $1"; exit 1; }
write() {
  said=$( { printf x > "$1"; } 2>&1 ) && return
  case $said in
    *space*) fail "$1: no space left on the device" ;;
    *) fail "$1: the file system is read-only, or permission denied" ;;
  esac
}
mkdir -p "$1/exp/m/scores/test" || fail "$1/exp: no space left on the device"
for stage in 0 1 2 3 4 5 6 7; do
  echo "00:00:00 stage $stage: x"
  [ ! -s "$1/exp/m/.done.$stage" ] || continue
  for part in 1 2 3 4 5; do
    sleep 0.04
    [ "$(cat "$2"/audio/a.flac)" = "good sound" ] || fail "$2/audio/a.flac: can't be decoded"
    write "$1/exp/m/scores/test/$stage.$part"
  done
  write "$1/exp/m/.done.$stage"
done
"""


class ToySoak(Soak):
    """Disturbs a toy instead of the recipe."""

    def command(self, folder: Path) -> list[str]:
        return ["bash", "-c", RECIPE, "recipe", str(folder), str(self.corpus)]


def test_a_round_of_a_toy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus/audio").mkdir(parents=True)
    (tmp_path / "corpus/audio/a.flac").write_text("good sound")
    soak = ToySoak(tmp_path, argparse.Namespace(seed=1))
    try:
        quiet = soak.quiet()
        soak.round(time.monotonic() + 100, quiet)
    finally:
        soak.disk.close()
    said = capsys.readouterr().out
    assert soak.findings == [], said
    assert soak.rounds == 1 and soak.outcomes["kill: killed"] >= 2, said
    assert sum(soak.outcomes.values()) == sum(d.times for d in DISTURBANCES)
    assert (tmp_path / "corpus/audio/a.flac").read_text() == "good sound"
