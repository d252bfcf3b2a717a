"""Smaller variants: what they hold, what they lose, and when they are refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from imlkd.corpora.trials.lists import read_trials
from imlkd.errors import UserError
from imlkd.export import stage
from imlkd.export.measure import cost_here, embed, peak_memory
from imlkd.export.stage import ExportOptions, export_model
from imlkd.export.variants import MaxLoss
from imlkd.features.speech import SpeechReader
from imlkd.onnx_session import open_session
from imlkd.scoring.cosine import cosine_scores
from imlkd.scoring.evaluate import evaluate


@pytest.fixture(scope="module")
def summary(student):
    return json.loads((student.out / "export.json").read_text())


@pytest.fixture
def quick(student, monkeypatch: pytest.MonkeyPatch):
    """The graph that has been exported already, and no time taken."""
    proto = onnx.load(student.out / "model.onnx")
    cost = stage.cost_of(student.out / "model.onnx", 16000, 1)
    monkeypatch.setattr(stage, "to_onnx", lambda *rest: proto)
    monkeypatch.setattr(stage, "cost_of", lambda path, rate: replace(cost, size_mb=path.stat().st_size / 1e6))
    return proto


def test_the_float32_row_has_the_errors_of_the_recipe(student, summary) -> None:
    first = summary["variants"][0]
    metrics = json.loads((student.folder / "metrics/toy/trials.json").read_text())
    assert first["variant"] == "fp32" and first["lists"]["toy/trials"]["difference"] is None
    assert first["lists"]["toy/trials"]["eer"]["value"] == pytest.approx(metrics["eer"]["value"], abs=0.02)


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_a_variants_row_is_measured_on_its_own_file(student, summary, name: str, tmp_path: Path) -> None:
    row = next(one for one in summary["variants"] if one["variant"] == name)
    data = student.sets.parent / "toy"
    reader, session = SpeechReader(data, 16000), open_session(student.out / row["file"])
    vectors = {utterance: embed(session, reader.utterance(utterance).numpy()) for utterance in reader.names}
    trials = read_trials(data / "trials")
    scores = cosine_scores(trials, vectors, vectors)
    lines = [f"{a} {b} {s!r}\n" for (a, b), s in zip(trials.pairs(), scores.tolist(), strict=True)]
    (tmp_path / "scores").write_text("".join(lines))
    expected = evaluate(tmp_path / "scores", data / "trials", [data / "utt2spk"], draws=20).eer
    found = row["lists"]["toy/trials"]
    assert found["eer"]["value"] == pytest.approx(expected.value)
    assert found["eer"]["interval"]["low"] == pytest.approx(expected.interval.low)
    whole = summary["variants"][0]["lists"]["toy/trials"]["eer"]["value"]
    assert found["difference"]["difference"] == pytest.approx(expected.value - whole)
    assert row["size_mb"] == (student.out / row["file"]).stat().st_size / 1e6
    assert row["latency_ms"] > 0 and row["rtf"] > 0 and row["memory_mb"] > 10


def test_fp16_halves_the_layers_and_hardly_moves_embeddings(student, summary) -> None:
    half = onnx.load(student.out / "model.fp16.onnx").graph.initializer
    kept = [weight for weight in half if weight.data_type == onnx.TensorProto.FLOAT16]
    assert len(kept) == 4  # three convolutions and the segment layer
    assert next(one for one in summary["variants"] if one["variant"] == "fp16")["farthest"] < 1e-5


def test_int8_is_per_channel_and_leaves_the_front_end_alone(student, summary) -> None:
    graph = onnx.load(student.out / "model.int8.onnx").graph
    weights = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
    assert len(weights) == 4
    scales = {one.name: list(one.dims) for one in graph.initializer if one.name.endswith("weight_scale")}
    assert scales and all(len(dims) == 1 and dims[0] > 1 for dims in scales.values())
    quantised = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert quantised and not any(node.name.startswith("front_end") for node in quantised)
    assert 0 < next(one for one in summary["variants"] if one["variant"] == "int8")["farthest"] < 0.1


def test_every_variant_has_the_metadata_of_its_own(student) -> None:
    for name, variant in (("model.fp16.onnx", "fp16"), ("model.int8.onnx", "int8")):
        told = open_session(student.out / name).get_modelmeta().custom_metadata_map
        assert told["imlkd.variant"] == variant and told["imlkd.format"] == "1"


def test_a_variant_that_loses_more_is_refused_and_the_rest_is_kept(student, quick, tmp_path: Path) -> None:
    options = ExportOptions(("onnx", "fp16"), student.sets, max_loss=MaxLoss(-0.1, relative=False), draws=5)
    with pytest.raises(UserError, match=r"model.fp16.onnx: EER on toy/trials .* more than --max-loss allows") as raised:
        export_model(student.folder, tmp_path, options)
    assert "--accept-loss" in str(raised.value) and "\n" not in str(raised.value)
    assert (tmp_path / "model.onnx").is_file() and not (tmp_path / "model.fp16.onnx").exists()
    assert "fp16 (refused)" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "export.json").read_text())["files"] == ["model.onnx"]
    accepted = export_model(student.folder, tmp_path, replace(options, accept_loss=True))
    assert (tmp_path / "model.fp16.onnx").is_file() and "refused" not in accepted


def test_without_data_the_graph_is_exported_and_nothing_is_claimed(student, quick, tmp_path: Path) -> None:
    export_model(student.folder, tmp_path, ExportOptions(("onnx",)))
    told = open_session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert told["imlkd.training_data"] == "{}" and told["imlkd.licence"] == "not stated"
    assert json.loads((tmp_path / "export.json").read_text())["variants"][0]["lists"] == {}


def test_bounds() -> None:
    assert MaxLoss.parse("5%") == MaxLoss(0.05, True) and MaxLoss.parse("0.005") == MaxLoss(0.005, False)
    for text in ("", "-1%", "five", "5 %", "nan"):
        with pytest.raises(UserError, match="--max-loss"):
            MaxLoss.parse(text)


def test_audio_that_is_too_short_is_named(student) -> None:
    with pytest.raises(UserError, match=r"toy: s0-u0 has \d+ samples: the model needs 1000000 or more"):
        stage.read_test_audio(student.sets.parent, ["toy/trials"], 16000, 1_000_000, False)


def test_costs_are_measured(student) -> None:
    cost = cost_here(student.out / "model.onnx", 16000, 2)
    assert 0 < cost.latency_ms < 60_000 and 0 < cost.rtf < 10
    before, held = peak_memory(), np.ones(30_000_000)
    assert peak_memory() >= before + 200 or math.isclose(held.sum(), 3e7) and peak_memory() > 240
