"""Small Kaldi data directories, and a way to call the scripts of utils/ on them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "utils"
Result = subprocess.CompletedProcess[str]
SPEAKERS = {"s1": 4, "s2": 3, "s3": 1}  # utterances of each


def call_script(name: str, *arguments: object, cwd: Path | None = None, **environment: str) -> Result:
    return subprocess.run(
        [str(UTILS / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        errors="replace",
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def tables(segments: bool) -> dict[str, list[str]]:
    """Lines of every table of a directory that is in order."""
    utts = [(f"{s}-r{i // 2}-{i}", s, f"{s}-r{i // 2}", i) for s, n in SPEAKERS.items() for i in range(n)]
    recordings = sorted({r for _, _, r, _ in utts}) if segments else [u for u, *_ in utts]
    result = {
        "utt2spk": [f"{u} {s}" for u, s, _, _ in utts],
        "spk2utt": [" ".join([s, *(u for u, t, _, _ in utts if t == s)]) for s in SPEAKERS],
        "wav.scp": [f"{r} /audio/{r}.flac" for r in recordings],
        "feats.scp": [f"{u} /feats/raw.ark:{100 * n + 12}" for n, (u, *_) in enumerate(utts)],
        "vad.scp": [f"{u} /feats/vad.ark:{100 * n + 12}" for n, (u, *_) in enumerate(utts)],
        "text": [f"{u} some words" for u, *_ in utts],
        "utt2dur": [f"{u} {1.5 + i}" for u, _, _, i in utts],
        "utt2num_frames": [f"{u} {150 + 100 * i}" for u, _, _, i in utts],
        "reco2dur": [f"{r} 9.75" for r in recordings],
        "spk2gender": [f"{s} {'fm'[n % 2]}" for n, s in enumerate(SPEAKERS)],
    }
    if segments:
        result["segments"] = [f"{u} {r} {i}.0 {i}.95" for u, _, r, i in utts]
    return result


def write_tables(path: Path, content: dict[str, list[str]]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, lines in content.items():
        (path / name).write_text("".join(f"{line}\n" for line in lines))
    return path


def read_tables(path: Path) -> dict[str, list[str]]:
    return {f.name: f.read_text().splitlines() for f in sorted(path.iterdir()) if f.is_file() and f.name[0] != "."}


@pytest.fixture
def call() -> Callable[..., Result]:
    return call_script


@pytest.fixture
def validate() -> Callable[[Path], None]:
    """Fails with the script's message where a directory is not valid."""

    def check(path: Path) -> None:
        options = [f"--no-{n.split('.')[0]}" for n in ("text", "feats.scp", "wav.scp") if not (path / n).exists()]
        result = call_script("validate_data_dir.sh", *options, path)
        assert result.returncode == 0, result.stderr

    return check


@pytest.fixture
def write() -> Callable[[Path, dict[str, list[str]]], Path]:
    return write_tables


@pytest.fixture
def read() -> Callable[[Path], dict[str, list[str]]]:
    return read_tables


@pytest.fixture
def content() -> Callable[[bool], dict[str, list[str]]]:
    return tables


@pytest.fixture(params=[False, True], ids=["utterances", "segments"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A valid directory with a blank in its path, without and with segments."""
    return write_tables(tmp_path / "my data" / "train", tables(request.param))
