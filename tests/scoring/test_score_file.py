"""Scores as they come: complete after any kill, never mixed with those of other trials; damaged files are named."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora.trials.lists import TrialList, Trials, open_trials, read_trials
from imlkd.errors import UserError
from imlkd.files import REMEDY
from imlkd.kaldi_io import ArkWriter
from imlkd.scoring.score_file import read_scores, write_as_they_come, write_scores

ROOT = Path(__file__).parents[2]
COUNT = 50_000  # more than three blocks


class Counting:
    """Scores a trial by its place in the list; may be told to fail at a block."""

    def __init__(self, fail_at: int | None = None, error: BaseException | None = None, version: str = "1") -> None:
        self.scored, self.blocks, self.version = 0, 0, version
        self.fail_at, self.error = fail_at, error

    def block(self, trials: Trials) -> np.ndarray:
        if self.error and self.blocks == self.fail_at:
            raise self.error
        self.blocks += 1
        self.scored += len(trials)
        return np.array([float(name[1:]) for name in trials.test])

    def finish(self) -> None:
        if self.error and self.fail_at is None:
            raise self.error

    def digest(self) -> str:
        return self.version


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> TrialList:
    path = tmp_path_factory.mktemp("list") / "trials"
    path.write_text("".join(f"e{i % 7} t{i} {'target' if i % 2 else 'nontarget'}\n" for i in range(COUNT)))
    return open_trials(path)


def complete(path: Path) -> bool:
    expected = "".join(f"e{i % 7} t{i} {i}\n" for i in range(COUNT))
    return path.read_text() == expected and os.listdir(path.parent) == [path.name]


def test_all_at_once(trials: TrialList, tmp_path: Path) -> None:
    write_as_they_come(tmp_path / "scores", trials, Counting())
    assert complete(tmp_path / "scores")
    write_scores(tmp_path / "scores", read_trials(trials.path), np.arange(COUNT))
    assert complete(tmp_path / "scores")


@pytest.mark.parametrize("cut", [0, 1, 9])
def test_interrupted_run_goes_on_behind_its_last_whole_line(trials: TrialList, tmp_path: Path, cut: int) -> None:
    said: list[str] = []
    out = tmp_path / "scores"
    with pytest.raises(KeyboardInterrupt):
        write_as_they_come(out, trials, Counting(2, KeyboardInterrupt()), said.append)
    assert not out.exists() and said == []
    partial = tmp_path / ".scores.partial"
    written = partial.stat().st_size
    os.truncate(partial, written - cut)  # as a power cut may leave it
    again = Counting()
    write_as_they_come(out, trials, again, said.append)
    kept = 2 * 16384 - (cut > 0)
    assert complete(out) and again.scored == COUNT - kept
    assert said == [f"{out}: {kept} of {COUNT} scores are there already: going on behind them"]


def test_what_was_made_otherwise_is_not_taken_up(trials: TrialList, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    for version, damage in (("2", None), ("1", ".scores.partial.json")):
        with pytest.raises(KeyboardInterrupt):
            write_as_they_come(out, trials, Counting(1, KeyboardInterrupt(), version))
        if damage:
            (tmp_path / damage).write_text("{")
        again = Counting()
        write_as_they_come(out, trials, again)
        assert complete(out) and again.scored == COUNT
        out.unlink()


def test_refusal_leaves_the_old_file_and_nothing_else(trials: TrialList, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    out.write_text("old\n")
    for scorer in (Counting(1, UserError("bad")), Counting(None, UserError("bad"))):
        with pytest.raises(UserError, match="bad"):
            write_as_they_come(out, trials, scorer)
        assert out.read_text() == "old\n" and os.listdir(tmp_path) == ["scores"]


def test_full_disk_says_so_and_keeps_what_is_there(
    trials: TrialList, tmp_path: Path, file_size_limit: Callable[[int], contextlib.AbstractContextManager[None]]
) -> None:
    out = tmp_path / "scores"
    with file_size_limit(300_000), pytest.raises(UserError) as caught:
        write_as_they_come(out, trials, Counting())
    assert str(caught.value) in {f"{out}: {text}" for text in REMEDY.values()} and not out.exists()
    again = Counting()
    write_as_they_come(out, trials, again)
    assert complete(out) and again.scored < COUNT


def test_two_processes_do_not_write_one_file(trials: TrialList, tmp_path: Path) -> None:
    class Nested(Counting):
        def block(self, some: Trials) -> np.ndarray:
            with pytest.raises(UserError, match="scores: another process is writing it"):
                write_as_they_come(tmp_path / "scores", trials, Counting())
            return super().block(some)

    write_as_they_come(tmp_path / "scores", trials, Nested())
    assert complete(tmp_path / "scores")


def test_killed_command_goes_on(tmp_path: Path) -> None:
    """SIGKILL as soon as scores are there; the same command ends with the bytes of an undisturbed run."""
    names = [f"u{i:03d}" for i in range(300)]
    lines = [f"{a} {b} {'target' if a == b else 'nontarget'}\n" for a in names for b in names]
    (tmp_path / "trials").write_text("".join(lines))
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        for name, vector in zip(names, np.random.default_rng(0).normal(size=(300, 192)), strict=True):
            writer.write(name, vector)
    sides = ("--enroll-scp", tmp_path / "x.scp", "--test-scp", tmp_path / "x.scp")
    command = [sys.executable, "-m", "imlkd.cli.main", "score", "--trials", tmp_path / "trials", *sides, "--out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*command, tmp_path / "whole"], env=environment, check=True, capture_output=True)
    running = subprocess.Popen([*command, tmp_path / "scores"], env=environment, stdout=subprocess.DEVNULL)
    partial, deadline = tmp_path / ".scores.partial", time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if partial.is_file() and partial.stat().st_size:
            break
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = subprocess.run([*command, tmp_path / "scores"], env=environment, check=True, capture_output=True, text=True)
    assert (tmp_path / "scores").read_bytes() == (tmp_path / "whole").read_bytes()
    if running.returncode == -signal.SIGKILL:  # else it was too quick to be killed
        assert f"of {len(lines)} scores are there already: going on behind them" in done.stderr
    assert not list(tmp_path.glob(".scores*"))


SCORES = "e0 t0 0.25\ne0 t1 -1e-3\ne1 t0 3\n"


def small(folder: Path) -> Trials:
    (folder / "trials").write_text("e0 t0 target\ne0 t1 nontarget\ne1 t0 nontarget\n")
    return read_trials(folder / "trials")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 0, 2), (0, 1, 2, 0), (0, 0, 1, 2)])
def test_any_order_is_read(order: tuple[int, ...], tmp_path: Path) -> None:
    lines = SCORES.splitlines(keepends=True)
    (tmp_path / "scores").write_text("".join(lines[i] for i in order))
    assert read_scores(tmp_path / "scores", small(tmp_path)).tolist() == [0.25, -1e-3, 3.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("e0 t0 0.25\ne0 t1\n", "scores:2: expected 3 columns (<enroll> <test> <score>), found 2"),
        ("e0 t0 0.25\ne0 t1 1 2\n", "scores:2: expected 3 columns (<enroll> <test> <score>), found 4"),
        (SCORES.replace(" 3\n", " 3 nontarget\n"), "scores:3: expected 3 columns (<enroll> <test> <score>), found 4, "),
        ("e0 t0 0.25 target\n", "found 4, the fourth a label 'target': cut it out (`cut -d' ' -f1,2,3`)"),
        ("e0 t0 nontarget 0.25\n", "found 4, the third a label 'nontarget': cut it out (`cut -d' ' -f1,2,4`)"),
        ("0 e0 t0 0.25\n", "found 4, the first a label '0': cut it out (`cut -d' ' -f2,3,4`)"),
        ("e0 t0 1 0.25\n", "found 4, the third a label '1': cut it out (`cut -d' ' -f1,2,4`)"),
        ("e0 t0 target\n", "scores:1: 'target' is no number: expected <enroll> <test> <score>"),
        ("e0 t0 nan\n", "scores:1: score is nan: look at the embeddings of this pair"),
        ("e0 t0 -inf\n", "scores:1: score is -inf"),
        ("e0 t0 1\ne0 t0 2\n", "scores:2: e0 t0 already has another score"),
        (SCORES + "e0 t1 7\n", "scores:4: e0 t1 already has another score"),
        ("e0 t9 1\n", "scores:1: e0 t9 is no trial of"),
        ("e1 t0 1\n", "2 of 3 trials have no score; first: e0 t0"),
        ("", "3 of 3 trials have no score"),
    ],
)
def test_bad_files_end_in_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "scores").write_text(content)
    with pytest.raises(UserError) as caught:
        read_scores(tmp_path / "scores", small(tmp_path))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def fuzz(folder: Path, examples: int) -> None:
    trials, original = small(folder), SCORES.encode()

    @given(st.integers(0, len(original)), st.binary(max_size=6), st.integers(0, 12))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def damage(place: int, inserted: bytes, removed: int) -> None:
        (folder / "scores").write_bytes(original[:place] + inserted + original[place + removed :])
        with contextlib.suppress(UserError):
            assert np.isfinite(read_scores(folder / "scores", trials)).all()

    damage()


def test_any_damage_is_a_user_error_or_harmless(tmp_path: Path) -> None:
    fuzz(tmp_path, 200)


@pytest.mark.slow
def test_much_damage_is_a_user_error_or_harmless(tmp_path: Path) -> None:
    fuzz(tmp_path, 20000)
