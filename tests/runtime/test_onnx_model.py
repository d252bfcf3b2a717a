"""The loader of exported models: what it computes, what it refuses."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from imlkd import load_model
from imlkd.errors import UserError
from imlkd.runtime.audio import AudioOptions
from imlkd.scoring.calibration import Calibration
from tests.conftest import RATE, toy_voice
from tests.runtime.tiny_model import CALIBRATION, DIM, FILTERS, statistics, write_tiny_model


def test_embedding_is_what_numpy_computes(tmp_path: Path) -> None:
    centre = np.random.default_rng(1).normal(size=2 * FILTERS)
    model = load_model(write_tiny_model(tmp_path / "m.onnx", centre, seed=5))
    projection = np.random.default_rng(5).normal(size=(2 * FILTERS, DIM))
    for seconds in (0.1, 0.731, 3.0):
        samples = toy_voice(1, seconds, 3)
        expected = (statistics(samples) - centre) @ projection
        found = model.embed(samples, RATE)
        assert found.shape == (DIM,) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=2e-4)


def test_what_the_file_says(voices: Path) -> None:
    model = load_model(str(voices / "student.onnx"))
    assert (model.sample_rate, model.embedding_dim, model.card.min_samples, model.card.name) == (
        16000,
        24,
        1600,
        "tiny",
    )
    assert model.thresholds.values == {"eer": 0.4, "0.01": 0.7, "0.001": math.inf}
    assert model.thresholds.trials == "toy/trials"
    assert model.calibration == Calibration.from_json(json.dumps(CALIBRATION), "here")
    assert model.card.facts["licence"] == "Apache-2.0"


def test_files_arrays_and_sixteen_bits_agree(voices: Path) -> None:
    model = load_model(voices / "student.onnx")
    integers, _ = soundfile.read(voices / "bob-1.wav", dtype="int16")
    floats, _ = soundfile.read(voices / "bob-1.wav", dtype="float64")
    (from_file,) = model.embed_files([voices / "bob-1.wav"])
    np.testing.assert_array_equal(model.embed(integers, RATE), from_file)
    np.testing.assert_array_equal(model.embed(floats, RATE), from_file)
    assert model.embed_files([]).shape == (0, DIM)


def test_without_thresholds_and_calibration(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path / "m.onnx", thresholds="{}", calibration=""))
    assert model.thresholds.values == {} and model.calibration is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": None}, "another toolkit"),
        ({"format": "2"}, "format '2', known is 1: install a newer imlkd"),
        ({"sample_rate": "0"}, "imlkd.sample_rate is '0'"),
        ({"sample_rate": "16000.0"}, "imlkd.sample_rate"),
        ({"embedding_dim": None}, "imlkd.embedding_dim is ''"),
        ({"min_samples": "-1"}, "imlkd.min_samples"),
        ({"min_samples": "1" * 5000}, "imlkd.min_samples"),
        ({"thresholds": "{"}, "its thresholds are damaged"),
        ({"thresholds": '{"eer": "high"}'}, "its thresholds are damaged"),
        ({"thresholds": '{"eer": NaN}'}, "its thresholds are damaged"),
        ({"thresholds": "[" * 10000}, "its thresholds are damaged"),
        ({"thresholds": "[1]"}, "its thresholds are damaged"),
        ({"calibration": "{}"}, "damaged"),
        ({"calibration": "[" * 100000}, "damaged"),
        ({"calibration": json.dumps(CALIBRATION | {"scale": -1.0})}, "damaged"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, str | None], words: str) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", **changes)
    with pytest.raises(UserError) as caught:
        load_model(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_dimension_that_is_not_the_graphs_is_said_at_the_first_embedding(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path / "m.onnx", embedding_dim="25"))
    with pytest.raises(UserError, match="gives no usable embedding"):
        model.embed(toy_voice(0, 1.0, 0), RATE)


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model\n")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "gone.onnx": "no such model", "text.onnx": "no ONNX model", "empty.onnx": "no ONNX model",
        "folder": "holds no final.pt",
    }.items():  # fmt: skip
        with pytest.raises(UserError) as caught:
            load_model(tmp_path / name)
        assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_a_features_in_model_is_refused(voices: Path, tmp_path: Path) -> None:
    model = onnx.load(voices / "student.onnx")
    model.graph.input[0].name = "feats"
    model.graph.node[0].input[0] = "feats"
    onnx.save(model, tmp_path / "feats.onnx")
    with pytest.raises(UserError, match="takes no waveform"):
        load_model(tmp_path / "feats.onnx")


@pytest.mark.parametrize("place", ["weights.bin", "{folder}/weights.bin", "../../../../../../..{folder}/weights.bin"])
def test_weights_in_another_file_are_not_read(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Such a file could name any path of the machine it is opened on."""
    model = onnx.load(voices / "student.onnx")
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=1000)
    onnxruntime.InferenceSession(tmp_path / "m.onnx")  # the control: there they are, and onnxruntime would read them
    model = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False)
    entries = [entry for one in model.graph.initializer for entry in one.external_data if entry.key == "location"]
    assert len(entries) == 2
    for entry in entries:
        entry.value = place.format(folder=tmp_path)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="m.onnx: no ONNX model, or a damaged one .*[Ee]xternal data path"):
        load_model("m.onnx")


def test_audio_that_no_speaker_can_be_heard_in(voices: Path, tmp_path: Path) -> None:
    model = load_model(voices / "student.onnx")
    voice = toy_voice(0, 1.0, 0)
    for waveform, rate, words in [
        (np.zeros(16000), RATE, "silence"),
        (np.full(16000, 0.25), RATE, "silence"),
        (voice[:1599], RATE, "0.100 s long, the model needs 0.100 s"),
        (voice[:0], RATE, "the model needs"),
        (np.where(np.arange(16000) == 5, np.nan, voice), RATE, "NaN"),
        (np.where(np.arange(16000) == 5, np.inf, voice), RATE, "infinite"),
        (voice * 32768, RATE, "scale to"),
        (voice[:, None], RATE, "shape (16000, 1)"),
        ((voice * 100).astype(np.int64), RATE, "int64"),
        (voice, 8000, "sampled at 8000 Hz, the model wants 16000 Hz"),
    ]:
        with pytest.raises(UserError) as caught:
            model.embed(waveform, rate)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    soundfile.write(tmp_path / "stereo.wav", np.stack([voice, voice], axis=1), RATE)
    soundfile.write(tmp_path / "slow.wav", voice, 8000)
    soundfile.write(tmp_path / "silent.wav", voice * 0, RATE)
    (tmp_path / "text.wav").write_text("no audio")
    for name, words in {
        "stereo.wav": "2 channels, expected 1: choose one (`--channel 1` to 2)", "slow.wav": "allow it with --resample",
        "silent.wav": "silence", "text.wav": "not readable as audio", "gone.wav": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(UserError) as caught:
            model.embed_files([tmp_path / name])
        assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    with pytest.raises(UserError, match="allowed are 0.5 s"):
        model.embed_files([voices / "bob-1.wav"], AudioOptions(max_seconds=0.5))
    (left,) = model.embed_files([tmp_path / "stereo.wav"], AudioOptions(channel=2))
    assert left @ model.embed(voice, RATE) > 0.9999
    with pytest.raises(UserError, match="no channel 3"):
        model.embed_files([tmp_path / "stereo.wav"], AudioOptions(channel=3))
