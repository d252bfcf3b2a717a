"""A real ONNX model of 30 kB with imlkd's metadata: filters, log energies, statistics over time, projection, length 1.

Not trained: its embeddings tell the toy voices of tests/conftest.py apart because their spectra differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import RATE, toy_voice

DIM, FILTERS, WINDOW, HOP = 24, 24, 400, 160
THRESHOLDS = {"eer": 0.4, "0.01": 0.7, "0.001": None, "list": "toy/trials"}
CALIBRATION = {
    "scale": 8.0, "offset": -3.0, "quality": {}, "p_target": 0.01, "targets": 10, "nontargets": 90,
    "trials_sha256": "", "score_range": [-1.0, 1.0], "speakers": ["x", "y"],
}  # fmt: skip


def metadata(**changes: str | None) -> dict[str, str]:
    """Those of the contract; a change of None leaves the key out."""
    found: dict[str, str | None] = {
        "format": "1", "model": "tiny", "input": "waveform", "sample_rate": "16000", "embedding_dim": str(DIM),
        "min_samples": "1600", "front_end": "{}", "thresholds": json.dumps(THRESHOLDS),
        "calibration": json.dumps(CALIBRATION), "training_data": "none", "licence": "Apache-2.0", "git": "0",
        "parameters": "0", "macs": "0",
    }  # fmt: skip
    return {f"imlkd.{key}": value for key, value in (found | changes).items() if value is not None}


def filters() -> Any:
    """(filters, 1, window): Hann-windowed cosines from 100 to 4000 Hz."""
    time = (np.arange(WINDOW) - WINDOW / 2) / 16000.0
    centres = np.geomspace(100.0, 4000.0, FILTERS)
    return (np.hanning(WINDOW) * np.cos(2 * np.pi * centres[:, None] * time))[:, None].astype(np.float32) / 20.0


def write_tiny_model(path: Path, centre: Any = None, seed: int = 0, **changes: str | None) -> Path:
    """Write it; ``centre`` (2 * FILTERS,) is subtracted from the statistics, ``changes`` are for ``metadata``."""
    generator = np.random.default_rng(seed)
    centre = np.zeros(2 * FILTERS) if centre is None else centre
    values = {
        "filters": filters(),
        "projection": generator.normal(size=(2 * FILTERS, DIM)).astype(np.float32),
        "centre": np.asarray(centre, dtype=np.float32),
        "one": np.array([1], np.int64), "two": np.array([2], np.int64), "floor": np.array(1e-7, np.float32),
    }  # fmt: skip
    steps = [
        ("Unsqueeze", ["waveform", "one"], "mono", {}),
        ("Conv", ["mono", "filters"], "bands", {"strides": [HOP]}),
        ("Mul", ["bands", "bands"], "power", {}),
        ("Add", ["power", "floor"], "floored", {}),
        ("Log", ["floored"], "log", {}),
        ("ReduceMean", ["log", "two"], "mean", {"keepdims": 0}),
        ("Mul", ["log", "log"], "square", {}),
        ("ReduceMean", ["square", "two"], "second", {"keepdims": 0}),
        ("Mul", ["mean", "mean"], "first", {}),
        ("Sub", ["second", "first"], "variance", {}),
        ("Concat", ["mean", "variance"], "statistics", {"axis": 1}),
        ("Sub", ["statistics", "centre"], "centred", {}),
        ("MatMul", ["centred", "projection"], "raw", {}),
        ("LpNormalization", ["raw"], "embedding", {"axis": 1, "p": 2}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **settings) for kind, inputs, output, settings in steps],
        "tiny",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in metadata(**changes).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def statistics(samples: Any) -> Any:
    """(2 * FILTERS,): what the graph computes up to ``statistics``, in NumPy."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    log = np.log((frames @ filters()[:, 0].astype(np.float64).T) ** 2 + 1e-7)
    return np.concatenate([log.mean(axis=0), log.var(axis=0)])


def make_voices(folder: Path) -> Path:
    """alice-1.wav, alice-2.wav, bob-1.wav, bob-2.wav, carol-1.wav (2 s, 16 kHz) and student.onnx in ``folder``."""
    voices = {
        f"{name}-{take}": toy_voice(speaker, 2.0, 10 * speaker + take)
        for speaker, name in enumerate(("alice", "bob", "carol"))
        for take in (1, 2)
    }
    for name, samples in voices.items():
        if name != "carol-2":
            soundfile.write(folder / f"{name}.wav", samples, RATE)
    write_tiny_model(folder / "student.onnx", np.mean([statistics(samples) for samples in voices.values()], axis=0))
    return folder
