"""The base install (no torch, no kaldiio, no lhotse) scores trials, averages embeddings and runs exported models."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from imlkd.kaldi_io import ArkWriter, write_table

ROOT = Path(__file__).parents[2]
TRAIN_ONLY = [
    "torch",
    "torchaudio",
    "lhotse",
    "captum",
    "kaldiio",
    "h5py",
    "lilcom",
    "urllib3",
    "kaldi_native_io",
    "sklearn",
    "scipy",
    "soxr",
    "onnx",
]


def base(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, where importing a package of [train] fails as when it is not installed."""
    line = f"import sys; sys.modules.update(dict.fromkeys({TRAIN_ONLY!r})); from imlkd.cli.main import run; run()"
    command = [sys.executable, "-c", line, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    names = [f"s{s}-u{u}" for s in range(5) for u in range(3)]
    with ArkWriter(tmp_path / "xvector.ark", tmp_path / "xvector.scp") as writer:
        for name in names:
            writer.write(name, generator.normal(size=16))
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    lines = [f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in pairs]
    (tmp_path / "trials").write_text("".join(lines))
    write_table(tmp_path / "utt2spk", {name: name[:2] for name in names})
    write_table(tmp_path / "spk2utt", {f"s{s}": " ".join(names[3 * s : 3 * s + 3]) for s in range(5)})
    return tmp_path


def test_score_evaluate_and_speaker_means(data: Path) -> None:
    scp = data / "xvector.scp"
    done = base("score", "--trials", data / "trials", "--enroll-scp", scp, "--test-scp", scp, "--out", data / "scores")
    assert (done.returncode, done.stderr) == (0, "")
    reader = kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{scp}")
    names = [line.split()[0] for line in scp.read_text().splitlines()]
    vectors = {name: np.array(reader[name], dtype=np.float64) for name in names}
    for line in (data / "scores").read_text().splitlines():
        enroll, test, score = line.split()
        a, b = vectors[enroll], vectors[test]
        assert float(score) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    done = base("evaluate", data / "scores", data / "trials", "--utt2spk", data / "utt2spk", "--bootstrap", 20)
    assert (done.returncode, done.stderr) == (0, "") and "EER" in done.stdout
    done = base("speaker-means", data / "spk2utt", scp, data / "means")
    assert (done.returncode, done.stderr) == (0, "")
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{data}/means/spk_xvector.scp") as means:
        for speaker in range(5):
            own = np.mean([vectors[f"s{speaker}-u{u}"] for u in range(3)], axis=0)
            np.testing.assert_allclose(np.array(means[f"s{speaker}"]), own, atol=1e-6)
    assert (data / "means/num_utts.ark").read_text() == "".join(f"s{s} 3\n" for s in range(5))


def test_the_control_torch_is_hidden(data: Path) -> None:
    done = base("model", "embed", data, data, data / "out")
    assert done.returncode == 1 and "the package torch is missing" in done.stderr


def test_text_arks_say_which_package_they_need(data: Path) -> None:
    (data / "text.ark").write_text("u  [ 1 2 3 ]\n")
    (data / "text.scp").write_text(f"u {data}/text.ark:2\n")
    (data / "one").write_text("s u\n")
    done = base("speaker-means", data / "one", data / "text.scp", data / "means")
    assert done.returncode == 1 and "the package kaldiio is missing" in done.stderr
    assert not (data / "means").exists()


def test_an_exported_model_verifies_enrols_and_identifies(voices: Path, tmp_path: Path) -> None:
    model, store = voices / "student.onnx", tmp_path / "people.sqlite"
    done = base("verify", model, voices / "bob-1.wav", voices / "bob-2.wav", "--json")
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["decision"] == "same"
    assert base("enroll", store, "bob", voices / "bob-1.wav", "--model", model).returncode == 0
    done = base("identify", store, voices / "bob-2.wav", "--model", model, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["speaker"] == "bob"
    done = base("embed", model, voices, "--out", tmp_path / "x.ark")
    assert done.returncode == 0 and len((tmp_path / "x.scp").read_text().splitlines()) == 5
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/final.pt").write_bytes(b"")
    done = base("verify", tmp_path / "exp", voices / "bob-1.wav", voices / "bob-2.wav")
    assert done.returncode == 1 and "the package torch is missing" in done.stderr


@pytest.mark.slow
def test_pip_install_in_an_empty_environment(voices: Path, tmp_path: Path) -> None:
    """`pip install .` and nothing else; then a user's first command, away from the checkout."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, checkout], check=True)
    done = subprocess.run([python, "-m", "pip", "install", "-q", checkout], capture_output=True, text=True, check=False)
    if done.returncode and "Could not find a version" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "torch" not in run(python, "-m", "pip", "list")
    pair = voices / "bob-1.wav", voices / "bob-2.wav"
    assert "same speaker" in run(tmp_path / "venv/bin/imlkd", "verify", voices / "student.onnx", *pair)
    line = f"from imlkd import load_model; print(*load_model('{voices}/student.onnx').embed_files(['{pair[0]}']).shape)"
    assert run(python, "-c", line) == "1 24\n"
    assert list((tmp_path / "venv/lib").glob("python3.*/site-packages/imlkd/py.typed"))
    states = [json.loads(one) for one in run(tmp_path / "venv/bin/imlkd", "doctor", "--json").splitlines()]
    assert {one["topic"]: one["state"] for one in states} | {"base": "fits", "train": "lacks"} == {
        one["topic"]: one["state"] for one in states
    }
