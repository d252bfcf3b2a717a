"""A student that was exported, in the hands of who runs it: the same as in the recipe, and without torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imlkd import load_model
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.kaldi_io import read_array, read_table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "tolerance"), [("model.onnx", 1e-4), ("model.fp16.onnx", 2e-2)])
def test_embeddings_are_those_of_stage_5(student: Any, name: str, tolerance: float) -> None:
    exported, folder = load_model(student.out / name), load_model(student.folder)
    assert (exported.sample_rate, exported.embedding_dim) == (folder.sample_rate, folder.embedding_dim)
    stored = read_table(student.folder / "xvectors_toy/xvector.scp")
    wavs = read_data_dir(student.sets.parent / "toy").wav
    for utterance in list(wavs)[::5]:
        expected = read_array(stored[utterance])
        (found,) = exported.embed_files([wavs[utterance]])
        np.testing.assert_allclose(found, expected, atol=tolerance)
        np.testing.assert_allclose(folder.embed_files([wavs[utterance]])[0], expected, atol=1e-5)


def test_it_carries_its_thresholds(student: Any) -> None:
    model = load_model(student.out / "model.onnx")
    metrics = json.loads((student.folder / "metrics/toy/trials.json").read_text())
    assert model.thresholds.trials == "toy/trials"
    assert model.thresholds.values["eer"] == pytest.approx(metrics["eer"]["threshold"], abs=1e-6)
    assert model.card.facts["licence"] == "CC0-1.0"


def test_verify_without_torch(student: Any) -> None:
    wavs = read_data_dir(student.sets.parent / "toy").wav
    hide = "import sys; sys.modules.update(dict.fromkeys(['torch', 'torchaudio', 'lhotse', 'onnx', 'kaldiio'])); "
    command = [sys.executable, "-c", hide + "from imlkd.cli.main import run; run()", "verify"]
    pair = [wavs["s0-u0"], wavs["s0-u1"]]
    done = subprocess.run(
        [*command, str(student.out / "model.onnx"), *pair, "--json"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    a, b = load_model(student.folder).embed_files(pair)
    assert found["score"] == pytest.approx(float(a @ b), abs=1e-4)
    assert found["decision"] == ("same" if found["score"] >= found["threshold"] else "different")


def test_features_in_is_said_to_be_another_kind(student: Any) -> None:
    from imlkd.errors import UserError

    with pytest.raises(UserError, match="takes no waveform"):
        load_model(student.out / "features.onnx")
