"""Scripts that write data directories cannot write, or are stopped: one line, nothing left, nothing lost."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Call = Callable[..., CompletedProcess[str]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
UTILS = Path(__file__).resolve().parents[2] / "utils"

WRITERS = {
    "subset": ["subset_data_dir.sh", "{data}", "{half}", "{out}"],
    "copy": ["copy_data_dir.sh", "--utt-prefix", "x", "{data}", "{out}"],
    "combine": ["combine_data.sh", "{out}", "{data}"],
    "split": ["split_data.sh", "{data}", "2"],
    "fix": ["fix_data_dir.sh", "{data}"],
}


def large(write: Write, folder: Path, count: int) -> Path:
    """In need of repair: one line of wav.scp is missing."""
    utts = [f"s{n // 10:05d}-{n % 10}" for n in range(count)]
    return write(
        folder,
        {"utt2spk": [f"{u} {u[:6]}" for u in utts], "wav.scp": [f"{u} /audio/of/the/corpus/{u}.wav" for u in utts[1:]]},
    )


def everything(folder: Path) -> dict[Path, bytes]:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file() and f.name != ".split.lock"}


def command_of(way: str, data: Path, out: Path) -> list[str]:
    half = len((data / "utt2spk").read_text().splitlines()) // 2
    script, *arguments = WRITERS[way]
    return [str(UTILS / script), *[a.format(data=data, out=out, half=half) for a in arguments]]


@pytest.mark.parametrize("way", WRITERS)
@pytest.mark.parametrize("present", [False, True], ids=["new", "old"])
def test_file_size_limit(write: Write, tmp_path: Path, way: str, present: bool) -> None:
    data, out = large(write, tmp_path / "data", 2000), tmp_path / "out"
    if present:
        write(out, {"utt2spk": ["a b"], "wav.scp": ["a c"]})
    before = everything(tmp_path)
    command = ["bash", "-c", 'ulimit -f 16; exec "$@"', "limited", *command_of(way, data, out)]
    result = subprocess.run(command, text=True, capture_output=True, timeout=60)
    assert result.returncode == 1
    assert "cannot be written (File too large)" in result.stderr and len(result.stderr.splitlines()) == 1
    assert everything(tmp_path) == before and out.exists() == present


@pytest.mark.parametrize("way", ["subset", "copy", "combine"])
def test_plain_file_in_the_way(call: Call, write: Write, tmp_path: Path, way: str) -> None:
    data = large(write, tmp_path / "data", 20)
    (tmp_path / "exp").write_text("not a folder\n")
    script, *arguments = command_of(way, data, tmp_path / "exp" / "out")
    result = call(Path(script).name, *arguments)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert f"{tmp_path}/exp/out: cannot be written to (Not a directory)" in result.stderr


def test_backup_that_cannot_be_made(call: Call, write: Write, tmp_path: Path) -> None:
    data = large(write, tmp_path / "data", 20)
    (data / ".backup").write_text("a file\n")
    before = everything(data)
    result = call("fix_data_dir.sh", data)
    assert result.returncode == 1 and "/.backup: cannot be made" in result.stderr
    assert everything(data) == before


@pytest.mark.parametrize("way", WRITERS)
def test_stopped_while_writing(write: Write, tmp_path: Path, way: str) -> None:
    """A larger directory, where the script was done before the signal came."""
    for count in (100_000, 200_000, 400_000):
        data, out = large(write, tmp_path / f"data{count}", count), tmp_path / f"out{count}"
        before = everything(tmp_path)
        process = subprocess.Popen(command_of(way, data, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stage = {"split": data / ".split2.new", "fix": data / f".new.{process.pid}"}.get(
            way, out / f".new.{process.pid}"
        )
        while not (stage.is_dir() and any(stage.iterdir())) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        if process.wait(30) != 0:
            break
    assert process.returncode == -signal.SIGTERM
    assert everything(tmp_path) == before and not out.exists()
    assert [p for p in data.rglob(".*") if p.name != ".split.lock"] == []
