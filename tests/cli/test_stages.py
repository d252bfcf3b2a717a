"""The commands that the stages run, one after the other on a small corpus, and what they say to bad input."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from imlkd.cli.main import main
from imlkd.config import load_config
from imlkd.corpora.sets import read_sets
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.extract import FeaturesConfig
from imlkd.kaldi_io import read_scp_arrays, read_table

Run = Callable[..., Result]
CONF = {
    "features": "fbank: {num_mel_bins: 24}\n",
    "teacher": "network: {width: 8, blocks: 1, embedding_dim: 6}\ntraining: {epochs: 2, batch: 4, threads: 1}\n"
    "segments: {durations: [0.5, 1.0]}\n",
    "relevance": "segments: {durations: [0.5, 1.0]}\nnodes: 2\nmax_failing: 1.0\n",
    "student": "network: {width: 4, blocks: 1, embedding_dim: 5}\ntraining: {epochs: 2, batch: 4, threads: 1}\n",
    "kd": "temperature: 4\n",
}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    for name, text in CONF.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def imlkd() -> object:
    """The command within this process; a UserError stays in the result's ``exception``."""
    before = torch.are_deterministic_algorithms_enabled()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words], standalone_mode=False)
    torch.use_deterministic_algorithms(before)


def ok(done: Result) -> str:
    assert done.exception is None and done.stderr == "", done.exception
    return done.stdout


def error(done: Result) -> str:
    assert isinstance(done.exception, UserError), done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_features(imlkd: Run, toy_corpus: Path, conf: Path, tmp_path: Path) -> None:
    done = imlkd("features", toy_corpus, tmp_path, "--config", conf / "features.yaml", "--job", 2)
    assert done.exception is None and done.stdout == f"{tmp_path}: 16 utterances\n"
    assert done.stderr.splitlines()[-1] == "features.2: 16/16"  # without --progress: lines, as there is no terminal
    expected = read_scp_arrays(toy_corpus / "feats.scp")
    found = read_scp_arrays(tmp_path / "feats.2.scp")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(value, expected[key]) for key, value in found.items())
    command = ("features", toy_corpus, tmp_path, "--config", conf / "features.yaml")
    ok(imlkd(*command, "--save-config", tmp_path / "features.yaml"))
    assert load_config(FeaturesConfig, tmp_path / "features.yaml").fbank.num_mel_bins == 24
    assert ok(imlkd(*command, "--print-sample-rate")) == "16000\n"
    assert error(imlkd("features", tmp_path / "gone", tmp_path / "out")).startswith(f"{tmp_path}/gone")


def test_stages_2_to_5(imlkd: Run, toy_corpus: Path, conf: Path, tmp_path: Path) -> None:
    teacher, targets, student = tmp_path / "teacher", tmp_path / "teacher/targets_toy", tmp_path / "toy_kd"
    for folder in (teacher, targets, student):
        DoneMarker(folder / ".done").begin({"x": "1"})
    count = ("--progress", tmp_path / "progress")
    said = ok(imlkd("model", "train-teacher", toy_corpus, teacher, "--config", conf / "teacher.yaml", *count))
    assert "starting from scratch" in said and "epoch 2/2" in said
    command = ("model", "segments", toy_corpus, targets, "--config", conf / "relevance.yaml")
    ok(imlkd(*command, "--set", "rho=0.25", "--set", "segments.hop=0.4"))
    assert (
        load_text(targets / "config.yaml").count("rho: 0.25")
        == load_text(targets / "config.yaml").count("hop: 0.4")
        == 1
    )
    for job in (1, 2):
        ok(imlkd("model", "explain", teacher, toy_corpus, targets, "--job", job, "--nj", 2, *count))
    manifest = toy_corpus.parent / "manifests/toy.jsonl.gz"
    assert ok(imlkd("model", "join-targets", targets, manifest, "--nj", 2)).startswith("completeness: median error")
    command = ("model", "distil", "kd", toy_corpus, targets, student, "--config", conf / "student.yaml")
    ok(imlkd(*command, "--method-config", conf / "kd.yaml", "--set", "training.epochs=1", *count))
    assert load_text(student / "method.yaml") == "weight: 1.0\ntemperature: 4.0\n"
    assert "epochs: 1\n" in load_text(student / "config.yaml")
    assert ok(imlkd("model", "embed", student, toy_corpus, tmp_path / "x", *count)) == f"{tmp_path}/x: 16 utterances\n"
    with kaldi_native_io.SequentialFloatVectorReader(f"scp:{tmp_path}/x/xvector.1.scp") as reader:
        vectors = {key: np.array(value) for key, value in reader}
    assert list(vectors) == list(read_table(toy_corpus / "utt2spk"))
    assert all(vector.shape == (5,) for vector in vectors.values())


def load_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("distil", "imkld", "D", "D", "O"), "unknown method 'imkld': did you mean imlkd?"),
        (("distil", "kd", "D", "D", "O"), "O/.done.pending: not there: start this through run.sh"),
        (("distil", "kd", "D", "D", "O", "--set", "epochs=3"), "override 'epochs=3': unknown key epochs: valid keys"),
        (("train-teacher", "D", "O"), "O/.done.pending: not there: start this through run.sh"),
        (("explain", "O", "D", "O"), "O/.done.pending: not there: start this through run.sh"),
        (("embed", "D", "D", "O"), "D: holds no model.yaml: run stage 2 (teacher) or stage 4 (student) first"),
        (("import-teacher", "nobody", "D", "O"), "unknown teacher 'nobody': known teachers: own, resemblyzer"),
        (
            ("segments", "D", "O", "--set", "nodes=1"),
            "override 'nodes=1': nodes: 1 is below the smallest allowed value 2",
        ),
        (("segments", "D", "O"), "D/utt2num_frames: no such file"),
        (("join-targets", "O", "D/cuts.jsonl.gz"), "O/segments: no such file"),
        (("check", "C", "--teacher", "x"), "unknown teacher 'x'"),
    ],
)
def test_bad_input(
    imlkd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "CDO":
        (tmp_path / name).mkdir()
    assert error(imlkd("model", *arguments)).startswith(message)
    assert os.listdir("O") in ([], ["method.yaml"])


def test_sets(imlkd: Run, tmp_path: Path) -> None:
    path = tmp_path / "kaldi.sets.yaml"
    lists = [word for name in ("t1/trials", "t2/trials", "t1/hard") for word in ("--list", name)]
    ok(imlkd("recipe", "write-sets", path, "--train", "a", "--teacher", "b", *lists))
    assert (read_sets(path).tests, read_sets(path).lists) == (["t1", "t2"], ["t1/trials", "t2/trials", "t1/hard"])
    said = ok(imlkd("recipe", "sets", path))
    assert said == "train_set=a\nteacher_set=b\ntest_sets='t1 t2'\nlists='t1/trials t2/trials t1/hard'\n"


def test_a_recipe_is_checked_before_it_starts(imlkd: Run, conf: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(conf, tmp_path / "conf")
    options = {"corpus": "kaldi", "stage": "0", "stop-stage": "7", "nj": "2", "teacher": "own", "methods": "none,kd"}
    options |= {"conf": str(mine), "exp": str(tmp_path / "exp"), "data": str(tmp_path / "data")}

    def check(**changed: str) -> Result:
        return imlkd("recipe", "check", *(f"--{name}={value}" for name, value in (options | changed).items()))

    assert ok(check()) == ""
    assert (tmp_path / "exp").is_dir() and (tmp_path / "data").is_dir()
    assert error(check(stage="9")) == "--stage 9: stages go from 0 to 7"
    assert error(check(methods="kdd")).startswith("unknown method 'kdd': did you mean kd?")
    (mine / "student.yaml").write_text("training: {epoch: 3}\n")
    assert error(check()) == f"{mine}/student.yaml:1: unknown key epoch: did you mean epochs?"
