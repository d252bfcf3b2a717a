"""`imlkd embed`, `verify`, `enroll`, `identify`, `store` as a user types them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import soundfile

from imlkd import load_model
from tests.conftest import toy_voice
from tests.runtime.tiny_model import write_tiny_model

Run = Callable[..., subprocess.CompletedProcess[str]]


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    """Status 1, and the last line on stderr says why; before it only progress."""
    *before, last = done.stderr.splitlines()
    assert done.returncode == 1 and last.startswith("imlkd: error: ") and words in last, done.stderr
    assert all(line.startswith(("embed: ", "left out: ")) or "left out" in line for line in before), done.stderr


def test_embeddings_in_three_forms(imlkd: Run, voices: Path, tmp_path: Path) -> None:
    expected = load_model(voices / "student.onnx").embed_files(sorted(voices.glob("*.wav")))
    done = imlkd("embed", "student.onnx", ".", "--out", tmp_path / "x.ark", "--json", cwd=voices)
    found = lines(done)
    assert [one["id"] for one in found] == ["alice-1.wav", "alice-2.wav", "bob-1.wav", "bob-2.wav", "carol-1.wav"]
    np.testing.assert_array_equal(np.array([one["embedding"] for one in found], np.float32), expected)
    assert all(one["seconds"] == 2.0 for one in found) and "embed: 5/5" in done.stderr
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{tmp_path}/x.scp") as ark:
        np.testing.assert_array_equal(np.array([np.array(ark[one["id"]]) for one in found]), expected)
    done = imlkd("embed", "student.onnx", ".", "--out", tmp_path / "x.npz", cwd=voices)
    assert done.returncode == 0 and done.stdout == f"{tmp_path}/x.npz: 5 embeddings of 24 dimensions\n"
    stored = np.load(tmp_path / "x.npz")
    assert stored["ids"].tolist() == [one["id"] for one in found]
    np.testing.assert_array_equal(stored["embeddings"], expected)


def test_bad_files_are_counted_listed_and_bounded(imlkd: Run, voices: Path, tmp_path: Path) -> None:
    (tmp_path / "two words.wav").write_bytes((voices / "bob-1.wav").read_bytes())
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "stereo.wav", np.zeros((16000, 2)), 16000)
    model = voices / "student.onnx"
    done = imlkd("embed", model, tmp_path, "--json", "--max-bad", 2)
    assert [one["id"] for one in lines(done)] == ["two words.wav"]
    assert "left out: " in done.stderr and "silent.wav: silence" in done.stderr and "2 channels" in done.stderr
    assert done.stderr.endswith("2 of 3 recordings left out\n")
    refused(imlkd("embed", model, tmp_path, "--out", tmp_path / "x.npz", "--max-bad", 1), "more than 1 bad files")
    refused(imlkd("embed", model, tmp_path, "--out", tmp_path / "x.ark", "--max-bad", 2), "no key of an ark")
    assert not list(tmp_path.glob("*x.*"))


def test_wrong_usage(imlkd: Run, voices: Path) -> None:
    for more, words in [((), "say where they go"), (("--out", "x.txt"), "ends in .ark or .npz")]:
        done = imlkd("embed", "student.onnx", "bob-1.wav", *more, cwd=voices)
        assert done.returncode == 2 and words in done.stderr


def test_verify_says_score_ratio_decision_and_how_sure(imlkd: Run, voices: Path) -> None:
    a, b = load_model(voices / "student.onnx").embed_files([voices / "alice-1.wav", voices / "alice-2.wav"])
    cosine = float(a.astype(float) @ b.astype(float))
    done = imlkd("verify", "student.onnx", "alice-1.wav", "alice-2.wav", cwd=voices)
    assert (done.returncode, done.stderr) == (0, "")
    said = [line.split(maxsplit=1) for line in done.stdout.replace("how sure", "how_sure").splitlines()]
    llr = 8.0 * cosine - 3.0
    assert said == [
        ["score", f"{cosine:.4f}"],
        ["llr", f"{llr:.3f}"],
        ["decision", "same speaker at eer: threshold 0.4000 (equal error rate on toy/trials)"],
        ["how_sure", f"probability {100 / (1 + np.exp(-llr)):.2f} % that both are one speaker, for a prior of 0.5"],
    ]
    (other,) = lines(imlkd("verify", "student.onnx", "alice-1.wav", "bob-1.wav", "--json", "--operating-point", "0.01",
                           cwd=voices))  # fmt: skip
    assert (other["decision"], other["operating_point"], other["prior"]) == ("different", "0.01", 0.01)
    assert other["threshold"] == pytest.approx((np.log(99) + 3.0) / 8.0, abs=1e-6)


def test_verify_without_calibration_and_thresholds(imlkd: Run, voices: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", thresholds="", calibration="")
    done = imlkd("verify", model, "bob-1.wav", "bob-2.wav", cwd=voices)
    assert done.returncode == 0 and "none: the model carries no threshold" in done.stdout
    done = imlkd("verify", model, "bob-1.wav", "bob-2.wav", "--operating-point", "threshold=-0.5", cwd=voices)
    assert "same speaker at threshold=-0.5" in done.stdout and "that is no probability" in done.stdout
    refused(imlkd("verify", model, "bob-1.wav", "bob-2.wav", "--operating-point", "eer", cwd=voices), "(it has: none)")


def test_verify_hears_standard_input_and_another_rate(imlkd: Run, voices: Path, tmp_path: Path) -> None:
    voice = soundfile.read(voices / "bob-1.wav")[0]
    soundfile.write(tmp_path / "loud.wav", np.repeat(voice, 3), 48000)  # the same, crudely at three times the rate
    model = voices / "student.onnx"
    refused(imlkd("verify", model, voices / "bob-1.wav", tmp_path / "loud.wav"), "allow it with --resample")
    with open(tmp_path / "loud.wav", "rb") as stream:
        (found,) = lines(imlkd("verify", model, voices / "bob-1.wav", "-", "--resample", "--json", stdin=stream))
    assert found["decision"] == "same" and found["b"] == "-"


@pytest.fixture
def store(imlkd: Run, voices: Path, tmp_path: Path) -> Path:
    path = tmp_path / "people.sqlite"
    for name in ("alice", "bob"):
        done = imlkd("enroll", path, name, voices / f"{name}-1.wav", "--model", voices / "student.onnx")
        assert done.returncode == 0 and done.stdout == f"{path}: {name}: 1 recordings added\n", done.stderr
    return path


def test_identify_names_the_known_and_not_the_stranger(imlkd: Run, voices: Path, store: Path) -> None:
    command = ("identify", store, "alice-2.wav", "bob-2.wav", "carol-1.wav", "--model", "student.onnx", "--top", 2)
    found = lines(imlkd(*command, "--json", cwd=voices))
    assert [(one["id"], one["speaker"]) for one in found] == [
        ("alice-2.wav", "alice"), ("bob-2.wav", "bob"), ("carol-1.wav", None),
    ]  # fmt: skip
    assert [[c["rank"] for c in one["candidates"]] for one in found] == [[1, 2]] * 3  # type: ignore[attr-defined]
    done = imlkd(*command, cwd=voices)
    assert "alice-2.wav: alice: same speaker at eer" in done.stdout and "carol-1.wav: unknown: " in done.stdout


def test_a_store_is_kept(imlkd: Run, voices: Path, store: Path) -> None:
    again = imlkd("enroll", store, "bob", "bob-1.wav", "bob-2.wav", "--model", "student.onnx", "--json", cwd=voices)
    assert lines(again)[0] == {"store": str(store), "speaker": "bob", "added": 1, "known": 1}
    assert imlkd("store", "list", store).stdout == "alice\t1\t2.0\nbob\t2\t4.0\n"
    assert imlkd("store", "rename", store, "bob", "Bob B.").returncode == 0
    assert lines(imlkd("store", "list", store, "--json"))[0] == {"speaker": "Bob B.", "recordings": 2, "seconds": 4.0}
    assert imlkd("store", "remove", store, "alice").stdout == f"{store}: alice removed\n"
    assert "whole: 1 speakers, 24 dimensions of tiny" in imlkd("store", "check", store).stdout
    refused(imlkd("store", "remove", store, "alice"), "no speaker alice")


def test_what_enroll_and_identify_refuse(imlkd: Run, voices: Path, store: Path, tmp_path: Path) -> None:
    model, before = voices / "student.onnx", store.read_bytes()
    other = write_tiny_model(tmp_path / "other.onnx", seed=7)
    soundfile.write(tmp_path / "short.wav", toy_voice(0, 0.05, 0), 16000)
    for arguments, words in [
        (("identify", store, voices / "bob-1.wav", "--model", other), "take that model, or enrol into another store"),
        (("enroll", store, "x", voices / "bob-1.wav", "--model", other), "take that model"),
        (("enroll", store, "x", tmp_path / "short.wav", "--model", model), "0.050 s long, the model needs 0.100 s"),
        (("enroll", store, "x", tmp_path / "short.wav", "--model", model, "--max-bad", 1), "nothing enrolled"),
        (("enroll", store, "", voices / "bob-1.wav", "--model", model), "no name of a speaker"),
        (("enroll", tmp_path / "short.wav", "x", voices / "bob-1.wav", "--model", model), "no store of speakers"),
        (("identify", tmp_path / "gone", voices / "bob-1.wav", "--model", model), "no such store"),
        (("identify", store, voices / "bob-1.wav", "--model", tmp_path / "gone.onnx"), "no such model"),
    ]:
        refused(imlkd(*arguments), words)
    assert store.read_bytes() == before
