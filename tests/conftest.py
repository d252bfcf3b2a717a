"""What tests of several rooms share: the command line, a file-size limit, small data directories with features."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

# One thread, and none that spins while it waits: the machine is shared. Before numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from imlkd.config import save_config
from imlkd.kaldi_io import join_scps, write_table

ROOT = Path(__file__).parents[1]

settings.register_profile("shared", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("shared")


@pytest.fixture(scope="session")
def imlkd() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the ``imlkd`` command: ``imlkd("score", "--help", cwd=..., timeout=...)``."""

    def call(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, env=environment, **options
        )  # type: ignore[call-overload,no-any-return]

    return call


@pytest.fixture(scope="session")
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """``with file_size_limit(1000):`` no file of this process grows past 1000 bytes, as on a full disk."""

    @contextlib.contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


RATE = 16000


def toy_voice(speaker: int, seconds: float, seed: int) -> Any:
    """(samples,) float32: the speaker's pitch and two formants, syllables of 250 ms, faint noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 90.0 + 35.0 * speaker * (1 + 0.02 * generator.normal())
    formants = (350.0 + 120.0 * speaker, 1300.0 + 260.0 * speaker)
    harmonics = np.arange(1, int(6000 / pitch))
    weights = sum(np.exp(-(((harmonics * pitch - formant) / 150.0) ** 2)) for formant in formants) + 0.01
    tone = (weights[:, None] * np.sin(2 * np.pi * pitch * harmonics[:, None] * time)).sum(0)
    syllables = np.clip(np.sin(2 * np.pi * 2 * time + generator.uniform(0, 6)), 0, None)
    wave = 0.05 * tone * syllables + 0.001 * generator.normal(size=len(time))
    return wave.astype(np.float32)


def make_toy_corpus(folder: Path, speakers: int = 4, utterances: int = 4) -> Path:
    """A data directory ``folder/toy`` with features, speech activity and cuts, as stages 0 and 1 leave it."""
    from imlkd.corpora.kaldi_dir import read_data_dir
    from imlkd.corpora.lhotse.cuts import to_cuts, write_cuts
    from imlkd.features.extract import FeaturesConfig, extract_features
    from imlkd.features.fbank import FbankConfig

    data, audio = folder / "toy", folder / "audio"
    audio.mkdir(parents=True)
    data.mkdir()
    names = [(f"s{s}", f"s{s}-u{u}", s, u) for s in range(speakers) for u in range(utterances)]
    for _, name, s, u in names:
        soundfile.write(audio / f"{name}.wav", toy_voice(s, 1.3 + 0.237 * u, 100 * s + u), RATE)
    write_table(data / "wav.scp", {name: str(audio / f"{name}.wav") for _, name, _, _ in names})
    write_table(data / "utt2spk", {name: speaker for speaker, name, _, _ in names})
    write_table(data / "spk2utt", {f"s{s}": " ".join(n for _, n, i, _ in names if i == s) for s in range(speakers)})
    config = FeaturesConfig(fbank=FbankConfig(num_mel_bins=24))
    extract_features(data, config, data / "features", 1, folder / "progress")
    for kind in ("feats", "vad"):
        join_scps([data / f"features/{kind}.1.scp"], data / f"{kind}.scp")
    (data / "features/utt2num_frames.1").rename(data / "utt2num_frames")
    save_config(config, data / "features.yaml")
    write_cuts(to_cuts(read_data_dir(data)), folder / "manifests/toy.jsonl.gz")
    return data


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers of four utterances, 1.3 to 2.0 s each, 24 mel bands. To be read only."""
    return make_toy_corpus(tmp_path_factory.mktemp("toy_corpus"))


@pytest.fixture(scope="session")
def finished_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run.sh`` from end to end on the tiny configuration, one student: data/ and exp/. To be read only."""
    folder = tmp_path_factory.mktemp("recipe")
    run_recipe(folder)
    return folder


def run_recipe(folder: Path, *more: str) -> str:
    """The recipe's own words; it is started as a user starts it, with this Python."""
    options = ["--conf", "egs/minivox/conf_tiny", "--data", f"{folder}/data", "--exp", f"{folder}/exp"]
    options += ["--methods", "imlkd", "--nj", "2", "--bootstrap", "50", *more]
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    done = subprocess.run(
        ["./run.sh", *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
