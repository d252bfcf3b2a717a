"""The base install (no torch, no kaldiio, no lhotse) scores trials and averages embeddings."""

import subprocess
import sys
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
