"""`imlkd marker` and `imlkd join-scp`, as the stage scripts call them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stage(tmp_path: Path, imlkd: Run) -> Callable[..., tuple[int, str]]:
    """Check a marker made from a file, a data directory, a value and a module: (status, what was said)."""
    (tmp_path / "conf.yaml").write_text("a: 1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wav.scp").write_text("a a.wav\n")
    (tmp_path / "data/utt2spk").write_text("a s\n")

    def check(*more: object) -> tuple[int, str]:
        done = imlkd(
            "marker", "check", tmp_path / "out/.done", "--name", "stage 9", "--from", tmp_path / "conf.yaml",
            "--data", tmp_path / "data", "--value", "nj=2", "--code", "imlkd.errors", *more,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    return check


def test_a_stages_life(tmp_path: Path, imlkd: Run, stage: Callable[..., tuple[int, str]]) -> None:
    assert stage() == (3, "stage 9: not done yet\n")
    (tmp_path / "out/result").write_text("x")
    (tmp_path / "out/.result.tmp999999999").write_text("left by a killed process")
    done = imlkd("marker", "write", tmp_path / "out/.done", "--command", "make it")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "out/.done").read_text())["command"] == "make it"
    assert stage() == (0, "stage 9: up to date\n")
    assert stage("--value", "seed=1=2") == (3, "stage 9: --seed is new\n")
    assert not (tmp_path / "out/.done").exists()  # a stage that has to run is not done any more
    assert not (tmp_path / "out/.result.tmp999999999").exists()
    imlkd("marker", "write", tmp_path / "out/.done", "--output", tmp_path / "out/result")
    (tmp_path / "conf.yaml").write_text("a: 2\n")
    status, said = stage("--value", "seed=1=2")
    assert status == 3 and said.endswith("conf.yaml changed\n")


def test_force(tmp_path: Path, imlkd: Run, stage: Callable[..., tuple[int, str]]) -> None:
    stage()
    imlkd("marker", "write", tmp_path / "out/.done")
    assert stage("--force") == (3, "stage 9: --force true\n")


def test_only_the_tables_that_count(tmp_path: Path, imlkd: Run, stage: Callable[..., tuple[int, str]]) -> None:
    stage("--table", "wav.scp")
    imlkd("marker", "write", tmp_path / "out/.done")
    (tmp_path / "data/utt2spk").write_text("a another\n")
    assert stage("--table", "wav.scp")[0] == 0
    assert stage() == (3, "stage 9: data/utt2spk is new\n")


def test_inputs_that_are_not_there(tmp_path: Path, imlkd: Run, stage: Callable[..., tuple[int, str]]) -> None:
    stage()
    imlkd("marker", "write", tmp_path / "out/.done")
    for more, words in (
        (
            ("--from", tmp_path / "gone"),
            f"imlkd: error: {tmp_path}/gone: not there: mend the path, or run the stage that makes it first\n",
        ),
        (("--code", "imlkd.nothing"), "imlkd: error: imlkd.nothing: no such module\n"),
        (("--value", "nj"), "Error: --value nj: expected KEY=VALUE\n"),
    ):
        status, said = stage(*more)
        assert status in (1, 2) and said.endswith(words)
        assert (tmp_path / "out/.done").exists()  # nothing is lost by a wrong call


def test_join_scp(tmp_path: Path, imlkd: Run) -> None:
    (tmp_path / "1").write_text("b x:1\n")
    (tmp_path / "2").write_text("a y:1\n")
    done = imlkd("join-scp", tmp_path / "all", tmp_path / "1", tmp_path / "2")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/all: 2 entries\n")
    assert (tmp_path / "all").read_text() == "a y:1\nb x:1\n"
    assert imlkd("join-scp", tmp_path / "all").returncode == 2
