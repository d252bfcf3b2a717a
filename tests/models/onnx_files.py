"""Small speaker networks as ONNX files, written node by node, and the same arithmetic in numpy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN, DIM = 12, 6
Array = np.ndarray[Any, Any]


def weights(inputs: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(inputs)
    first = generator.normal(size=(inputs, HIDDEN)) / np.sqrt(inputs)
    return first.astype(np.float32), generator.normal(size=(HIDDEN, DIM)).astype(np.float32)


def answer(frames: Array) -> Array:
    """(B, T, F) -> (B, DIM): mean over time of tanh(x W), times V."""
    first, last = weights(frames.shape[2])
    return np.asarray(np.tanh(frames @ first).mean(1) @ last)


def of_features(
    path: Path, bands: int = 24, name: str = "feats", metadata: Mapping[str, str] | None = None,
    shape: Sequence[str | int] = ("B", "T"), outputs: Sequence[str] = ("embs",),
) -> Path:  # fmt: skip
    """A network of log-mel frames."""
    return _save(path, name, [*shape, bands], bands, [], name, metadata, outputs)


def of_samples(
    path: Path, hop: int = 160, metadata: Mapping[str, str] | None = None, shape: Sequence[str | int] = ("B", "T")
) -> Path:
    """A network of a waveform: it reads frames of ``hop`` samples."""
    reshape = [
        helper.make_node("Reshape", ["wave", "sizes"], ["frames"]),
    ]
    return _save(path, "wave", shape, hop, reshape, "frames", metadata, ["embedding"])


def _save(
    path: Path, name: str, shape: Sequence[str | int], inputs: int, before: list[Any], frames: str,
    metadata: Mapping[str, str] | None, outputs: Sequence[str],
) -> Path:  # fmt: skip
    first, last = weights(inputs)
    tensors = {"first": first, "last": last, "axes": np.array([1]), "sizes": np.array([0, -1, inputs])}
    nodes = [
        *before,
        helper.make_node("MatMul", [frames, "first"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["hidden"]),
        helper.make_node("ReduceMean", ["hidden", "axes"], ["mean"], keepdims=0),
        *(helper.make_node("MatMul", ["mean", "last"], [output]) for output in outputs),
    ]
    graph = helper.make_graph(
        nodes, "speaker", [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], DIM]) for output in outputs],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path
