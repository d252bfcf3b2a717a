"""Smaller variants of a graph: weights of half precision, and 8-bit integers for layers with weights."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.export.graph import FRONT_END, write_onnx
from imlkd.files import os_errors

LAYERS = ("Conv", "Gemm", "MatMul")
Waveform = npt.NDArray[np.float32]


def weight_layers(proto: Any) -> list[Any]:
    """Nodes of the network that multiply with a stored weight; the front-end, whose range is wide, is left alone."""
    stored = {weight.name for weight in proto.graph.initializer}
    return [
        node
        for node in proto.graph.node
        if node.op_type in LAYERS and not node.name.startswith(FRONT_END) and node.input[1] in stored
    ]


def half_weights(proto: Any) -> Any:
    """A copy whose layers keep their weights as float16 and cast them when the graph is loaded.

    Computation stays in float32: CPUs have no kernels for half precision, and sums over long audio leave its range.
    """
    import onnx

    fresh = onnx.ModelProto()
    fresh.CopyFrom(proto)
    wanted = {node.input[1] for node in weight_layers(fresh)}
    casts: list[Any] = []
    for weight in fresh.graph.initializer:
        if weight.name in wanted and weight.data_type == onnx.TensorProto.FLOAT:
            name, stored = weight.name, f"{weight.name}.half"
            values = onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, stored))
            casts.append(onnx.helper.make_node("Cast", [stored], [name], name=f"half/{len(casts)}", to=1))
    nodes = [*casts, *fresh.graph.node]
    del fresh.graph.node[:]
    fresh.graph.node.extend(nodes)
    return fresh


class Waveforms:
    """Training audio, one utterance at a time, as onnxruntime's calibration reads it (a CalibrationDataReader)."""

    def __init__(self, waveforms: Sequence[Waveform]) -> None:
        self._left = iter(waveforms)

    def get_next(self) -> dict[str, Waveform] | None:
        """The next input, (1, samples); None at the end."""
        waveform = next(self._left, None)
        return None if waveform is None else {"waveform": waveform[None]}


def int8(proto: Any, waveforms: Sequence[Waveform], path: Path, metadata: Mapping[str, str]) -> None:
    """Write ``proto`` with 8-bit weights, a scale a channel, and 8-bit activations whose range ``waveforms`` show.

    :raises UserError: when there is no audio, or the quantiser can't work on the graph.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if not waveforms:
        raise UserError(f"{path}: no training utterance is long enough to calibrate int8 on")
    with tempfile.TemporaryDirectory(prefix="imlkd-int8-") as folder, os_errors(folder), _quiet():
        made = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                proto, made, Waveforms(waveforms), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(LAYERS),
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_quantize=[node.name for node in weight_layers(proto)],
                calibrate_method=CalibrationMethod.MinMax,
            )  # fmt: skip
        except (ValueError, RuntimeError, KeyError) as error:
            said = " ".join(str(error).split())[:160]
            raise UserError(f"{path}: onnxruntime cannot quantise this graph: {said}") from error
        write_onnx(onnx.load(made), path, metadata)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice, which goes through the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
