"""`imlkd explain` and `imlkd faithfulness`: picture and numbers, and one line to bad input."""

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from PIL import Image

from imlkd.cli.main import main
from imlkd.errors import UserError
from imlkd.models.store import load_model, save_model
from tests.attribution.toy_subjects import toy_tdnn

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]
FAST = ("--set", "nodes=2", "--set", "max_nodes=2", "--set", "segments.durations=[0.5, 1.0]")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(toy_tdnn(), folder)
    return folder


@pytest.fixture
def run() -> object:
    """The command within this process; a UserError stays in the result's ``exception``."""
    threads = torch.get_num_threads()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words], standalone_mode=False)
    torch.set_num_threads(threads)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error(done: Result) -> str:
    assert isinstance(done.exception, UserError), done.exception
    assert "\n" not in str(done.exception) and done.stdout == ""
    return str(done.exception)


def test_pictures_and_numbers(run: Run, toy_corpus: Path, model: Path, tmp_path: Path) -> None:
    wavs = [toy_corpus.parent / f"audio/s1-u{u}.wav" for u in (0, 2)]
    done = run("explain", *wavs, "--model", model, "--speaker", "s1", "--out", tmp_path, "--draws", 2, *FAST)
    assert done.exception is None, done.exception
    assert done.stderr.splitlines()[-1].startswith("explain s1-u2.wav: ")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["wav"] for one in lines] == [str(wav) for wav in wavs]
    for wav, one in zip(wavs, lines, strict=True):
        assert one["target"] == "speaker s1" and one["model"] == str(model)
        assert list(one["relevance"]) == ["50", "100", "full", "fused"] == [*one["completeness"], "fused"]
        assert one["orders"]["relevance"]["curves"]["insertion"][-1] == pytest.approx(one["value"], abs=1e-5)
        with Image.open(tmp_path / f"{wav.stem}.explain.png") as picture:
            assert picture.format == "PNG" and picture.size == (1320, 1020)
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50  # not a blank page


def test_targets(run: Run, toy_corpus: Path, model: Path, tmp_path: Path) -> None:
    audio = toy_corpus.parent / "audio"
    common = ("--model", model, "--out", tmp_path, "--draws", 1, *FAST)

    def numbers(*words: object) -> dict[str, object]:
        done = run("explain", audio / "s1-u0.wav", *words, *common)
        assert done.exception is None, done.exception
        found: dict[str, object] = json.loads(done.stdout)
        return found

    assert numbers()["value"] == pytest.approx(1, abs=1e-5)
    enrolled = numbers("--enroll", audio / "s1-u1.wav", "--enroll", audio / "s1-u3.wav")
    network = load_model(model)
    own, *others = (
        network.embed(torch.from_numpy(soundfile.read(audio / f"s1-u{u}.wav", dtype="float32")[0])) for u in (0, 1, 3)
    )
    expected = torch.nn.functional.cosine_similarity(own, torch.stack(others).mean(0), dim=0)
    assert enrolled["value"] == pytest.approx(float(expected), abs=1e-3) and enrolled["target"] == "2 enrolled"
    probable = numbers("--speaker", "s1", "--quantity", "log-probability:4", "--baseline", "average")
    assert probable["quantity"] == "log-probability" and probable["temperature"] == 4
    assert float(str(probable["value"])) < 0
    bases = {name: numbers("--set", f"baseline={name}") for name in ("mean", "silence")}
    assert [one["baseline"] for one in bases.values()] == ["mean", "silence"]
    assert numbers("--baseline", "silence")["relevance"] == bases["silence"]["relevance"] != bases["mean"]["relevance"]


def test_bad_input_of_explain(run: Run, toy_corpus: Path, model: Path, tmp_path: Path) -> None:
    wav, gone = toy_corpus.parent / "audio/s1-u0.wav", tmp_path / "gone"
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "rate.wav", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "short.wav", np.full(1600, 0.1), 16000)
    (tmp_path / "s1-u0.wav").write_bytes(wav.read_bytes())

    def said(*words: object, folder: Path = model) -> str:
        return error(run("explain", *words, "--model", folder, "--out", tmp_path / "out", *FAST))

    assert said(gone) == f"audio: {gone}: no such file: mend the path or put the file back"
    assert "text.wav: not readable as audio" in said(tmp_path / "text.wav")
    assert "sampled at 8000 Hz, the model hears 16000 Hz: resample" in said(tmp_path / "rate.wav")
    assert said(tmp_path / "short.wav").startswith(f"{tmp_path}/short.wav: 10 frames of 10 ms, fewer than 20")
    assert "the teacher knows no class nobody" in said(wav, "--speaker", "nobody")
    assert said(wav, folder=gone).startswith(f"{gone}: holds no model.yaml")
    assert "name two targets" in said(wav, "--speaker", "s1", "--enroll", wav)
    assert "name it with --speaker" in said(wav, "--quantity", "probability")
    assert "leave --speaker out" in said(wav, "--speaker", "s1", "--quantity", "self")
    assert "unknown key nods: did you mean nodes?" in said(wav, "--set", "nods=3")
    assert "two WAVs have one name" in said(wav, tmp_path / "s1-u0.wav")
    assert "memory 20K is too small for an utterance of 130 frames: one gradient needs" in said(wav, "--memory", "20K")
    assert not (tmp_path / "out").exists()


def test_a_wrong_file_is_one_line_and_status_1(
    imlkd: Callable[..., subprocess.CompletedProcess[str]], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    done = imlkd("explain", tmp_path / "text.wav", "--model", model)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("imlkd: error: audio: ") and done.stderr.count("\n") == 1


def test_faithfulness(run: Run, toy_corpus: Path, model: Path, tmp_path: Path) -> None:
    common = ("--durations", "0.5,1", "--per-speaker", 1, "--bootstrap", 20, *FAST)
    done = run("faithfulness", model, toy_corpus, *common, "--json", tmp_path / "found.json")
    assert done.exception is None, done.exception
    assert done.stderr.splitlines()[-1] == "taken apart at 1 s: 4/4"
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["classes"] == "head" and found["trials_list"] is None
    assert found["relevance"]["nodes"] == 2 and list(found["durations"]) == ["0.5", "1"]
    head = done.stdout.splitlines()
    assert head[0] == "0.5 s: 4 utterances of 4 speakers, 4 classes (head)"
    areas = found["durations"]["0.5"]["insertion"]["cosine"]["areas"]
    row = next(line for line in head if line.startswith("insertion cosine"))
    assert row.split()[2:4] == ["relevance", f"{100 * areas['relevance']:.1f}"]
    tables = load(ROOT / "docs/make_attribution.py")
    assert f"| 0.5 | insertion | cosine x 100 | {100 * areas['relevance']:.1f} |" in tables.areas(found)
    assert tables.maps(found).count("| relevance |") == 2  # a row a duration
    crossed = run("faithfulness", model, toy_corpus, "--order-by", model, *common)
    assert crossed.exception is None and f"{model.name}: completeness" in crossed.stdout
    assert "own: completeness" in crossed.stdout


def test_bad_input_of_faithfulness(run: Run, toy_corpus: Path, model: Path, tmp_path: Path) -> None:
    def said(*words: object, data: Path = toy_corpus) -> str:
        return error(run("faithfulness", model, data, *FAST, *words))

    assert said(data=tmp_path / "gone").startswith(f"{tmp_path}/gone")
    assert said("--durations", "1,x") == "--durations 1,x: 'x' is no duration from 0.01 to 3600 s"
    assert "none of 8 tested utterances is 9 s long" in said("--durations", "9")
    assert said("--memory", "much") == "memory 'much': expected a size such as 500M or 2G"
    assert said("--quantity", "cosin").startswith("explained quantity 'cosin': expected one of cosine")
    assert said("--trials", tmp_path / "gone").startswith(f"{tmp_path}/gone")
    assert "holds no model.yaml" in said("--order-by", tmp_path / "gone")
    assert "receptive field needs" in said("--durations", "0.03")
    save_model(toy_tdnn(), tmp_path / "fewer")
    (tmp_path / "fewer/speakers").write_text("s3\ns0\ns2\nx\n")
    done = run("faithfulness", tmp_path / "fewer", toy_corpus, "--classes", "head", *FAST)
    assert "does not know 1 speakers of the data (first: s1)" in error(done)
