"""model.onnx: one file that gives the recipe's embeddings, and says what it is."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from imlkd.corpora.fingerprint import data_hash
from imlkd.errors import UserError
from imlkd.export.graph import without_masks
from imlkd.export.measure import embed
from imlkd.export.stage import GRAPH
from imlkd.onnx_session import open_session

ROOT = Path(__file__).parents[2]
BOUND = 1e-4


@pytest.fixture(scope="module")
def session(student):
    return open_session(student.out / GRAPH)


@pytest.fixture(scope="module")
def model(student):
    return student.load()


def shortest(session) -> int:
    return int(session.get_modelmeta().custom_metadata_map["imlkd.min_samples"])


def test_parity_on_200_random_lengths(session, model) -> None:
    generator = np.random.default_rng(0)
    for samples in generator.integers(shortest(session), 24000, 200):
        waveform = (0.1 * generator.standard_normal(samples)).astype(np.float32)
        assert np.abs(embed(session, waveform) - model.embed(torch.from_numpy(waveform)).numpy()).max() < BOUND


def special() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    noise = generator.standard_normal(16000).astype(np.float32)
    return {
        "silence": np.zeros(16000, np.float32),
        "clipped": np.clip(20.0 * noise, -1.0, 1.0),
        "square": np.sign(np.sin(np.arange(16000) / 400.0)).astype(np.float32),
        "half silent": np.concatenate([0.1 * noise, np.zeros(16000, np.float32)]),
        "one bit": np.round(noise).astype(np.float32) / 32768.0,
    }


@pytest.mark.parametrize("kind", special())
def test_parity_on_silence_and_clipped_audio(session, model, kind: str) -> None:
    waveform = special()[kind]
    assert np.abs(embed(session, waveform) - model.embed(torch.from_numpy(waveform)).numpy()).max() < BOUND


def test_parity_on_the_shortest_audio(session, model) -> None:
    waveform = (0.1 * np.random.default_rng(2).standard_normal(shortest(session))).astype(np.float32)
    assert np.abs(embed(session, waveform) - model.embed(torch.from_numpy(waveform)).numpy()).max() < BOUND


@pytest.mark.parametrize("samples", [0, 1, 399, -1])
def test_shorter_audio_is_one_clear_error(session, samples: int) -> None:
    short = np.zeros(samples if samples >= 0 else shortest(session) - 1, np.float32)
    with pytest.raises(UserError, match=rf"audio of {len(short)} samples: the model needs {shortest(session)} or more"):
        embed(session, short)


def test_rows_of_a_batch_are_embedded_one_by_one(session, model) -> None:
    waveforms = (0.1 * np.random.default_rng(3).standard_normal((5, 9999))).astype(np.float32)
    found = session.run(["embedding"], {"waveform": waveforms})[0]
    assert found.shape == (5, 16) and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    for row, waveform in zip(found, waveforms, strict=True):
        assert np.abs(row - model.embed(torch.from_numpy(waveform)).numpy()).max() < BOUND


def test_names_and_free_dimensions(session) -> None:
    (waveform,), (embedding,) = session.get_inputs(), session.get_outputs()
    assert (waveform.name, waveform.shape, waveform.type) == ("waveform", ["batch", "samples"], "tensor(float)")
    assert (embedding.name, embedding.shape) == ("embedding", ["batch", 16])


def test_metadata(student, session) -> None:
    told = session.get_modelmeta().custom_metadata_map
    assert (told["imlkd.format"], told["imlkd.model"], told["imlkd.variant"]) == ("1", "student", "fp32")
    assert (told["imlkd.input"], told["imlkd.sample_rate"], told["imlkd.embedding_dim"]) == ("waveform", "16000", "16")
    assert json.loads(told["imlkd.training_data"]) == {"toy": data_hash(student.sets.parent / "toy")}
    assert json.loads(told["imlkd.front_end"])["name"] == "log-mel"
    assert told["imlkd.licence"] == "CC0-1.0" and told["imlkd.calibration"] == ""
    metrics = json.loads((student.folder / "metrics/toy/trials.json").read_text())
    thresholds = json.loads(told["imlkd.thresholds"])
    assert thresholds["list"] == "toy/trials"
    assert thresholds["eer"] == pytest.approx(metrics["eer"]["threshold"])
    assert thresholds["0.01"] == metrics["min_dcf"]["0.01"]["threshold"]
    assert int(told["imlkd.parameters"]) > 0 and int(told["imlkd.macs"]) > 0


def test_it_is_one_file_without_traces_of_where_it_was_made(student) -> None:
    proto = onnx.load(student.out / GRAPH, load_external_data=False)
    assert not any(weight.external_data for weight in proto.graph.initializer)
    content = (student.out / GRAPH).read_bytes()
    assert str(ROOT).encode() not in content and b".py" not in content
    # Parameters, mel bands, one turn of sine and cosine; the transform's matrix alone would be 0.78 MB.
    assert len(content) < 4 * 6000 + 4 * 243 * 80 + 60000


def test_no_mask_is_left(student) -> None:
    """Choices by a mask would be Where, products with one as many Mul as the network has layers."""
    operators = [node.op_type for node in onnx.load(student.out / GRAPH).graph.node if node.name.startswith("network")]
    assert "Where" not in operators and operators.count("Mul") <= 4


def test_masks_are_taken_out_of_a_graph_by_hand() -> None:
    nodes = [
        helper.make_node("Less", ["place", "length"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "mask"], ["masked"]),
        helper.make_node("Mul", ["masked", "gain"], ["louder"]),
        helper.make_node("Equal", ["mask", "zero"], ["outside"]),
        helper.make_node("Where", ["outside", "zero", "louder"], ["chosen"]),
        helper.make_node("ReduceSum", ["mask"], ["count"]),
        helper.make_node("Div", ["chosen", "count"], ["y"]),
    ]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "gain", "y")}
    graph = helper.make_graph(nodes, "g", [values["x"], values["gain"]], [values["y"]])
    proto = helper.make_model(graph)
    without_masks(proto)
    assert [node.op_type for node in proto.graph.node] == ["Less", "Cast", "Mul", "ReduceSum", "Div"]
    assert list(proto.graph.node[2].input) == ["x", "gain"]
    assert list(proto.graph.node[4].input) == ["louder", "count"]
