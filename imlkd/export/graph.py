"""A module as one ONNX file: names, free dimensions, no masks, no traces of the machine it was made on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.errors import UserError
from imlkd.files import atomic_open

FRONT_END = "front_end"  # attribute of the embedder, and prefix of its nodes' names
FOLDED = 16384  # bytes; larger constants are left for the runtime to compute: the transform's matrix is one
KEEPERS = ("Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Cast", "Identity", "Expand")  # ones stay ones


def to_onnx(module: nn.Module, example: Tensor, names: tuple[str, str], axes: Mapping[int, str]) -> Any:
    """``module`` as an ``onnx.ModelProto`` with one input and one output.

    :param example: an input; ``axes``: its free axes and what they are called.
    :raises UserError: when the exporter can't write the module.
    """
    from onnxscript import optimizer

    for name in ("torch.onnx", "torch.export", "torch.fx"):  # which print whole graphs beside the exception
        logging.getLogger(name).setLevel(logging.CRITICAL)
    free = {axis: torch.export.Dim.AUTO for axis in axes}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module, (example,), dynamo=True, verbose=False, input_names=[names[0]], output_names=[names[1]],
                dynamic_shapes=(free,), external_data=False, optimize=False,
            )  # fmt: skip
            assert program is not None
            optimizer.optimize(program.model, output_size_limit=FOLDED)
        except Exception as error:  # the exporter raises whatever its passes meet
            said = " ".join(str(error).split())[:160]
            raise UserError(f"{type(module).__name__}: no ONNX graph can be made of it: {said}") from error
    proto = program.model_proto
    _name_axes(proto, axes)
    _name_nodes(proto)
    without_masks(proto)
    return proto


def missing(package: str) -> str:
    """What to do about a package of the extra."""
    return f"the package {package} is missing: `pip install '.[train,export]'` in the checkout, or path.sh"


def write_onnx(proto: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """One file, whole or not at all, with ``metadata`` in place of what it held."""
    import onnx

    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(metadata))
    with atomic_open(path, "wb") as stream:
        stream.write(proto.SerializeToString())


def _name_axes(proto: Any, axes: Mapping[int, str]) -> None:
    shape = proto.graph.input[0].type.tensor_type.shape.dim
    renamed = {shape[axis].dim_param: name for axis, name in axes.items()}
    for value in [*proto.graph.input, *proto.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = renamed.get(dim.dim_param, dim.dim_param)
    del proto.graph.value_info[:]


def _name_nodes(proto: Any) -> None:
    """``front_end/N`` or ``network/N``; the exporter's notes on source lines and paths go."""
    proto.doc_string = proto.graph.doc_string = ""
    for number, node in enumerate(proto.graph.node):
        scope = next((prop.value for prop in node.metadata_props if prop.key.endswith("namespace")), "")
        node.name = f"{FRONT_END if FRONT_END in scope else 'network'}/{number}"
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]


def without_masks(proto: Any) -> None:
    """Take out multiplications by ones, and choices that are never made.

    Rows are valid to their end, so the mask of valid frames, place < length, is one everywhere; counts of frames,
    which are sums over it, stay.
    """
    ones = _ones(proto)
    never = {
        node.output[0] for node in proto.graph.node if node.op_type == "Equal" and ones & set(node.input)
    }
    instead: dict[str, str] = {}
    kept = []
    for node in proto.graph.node:
        passed = _passed(node, ones, never)
        if passed is not None and node.output[0] != proto.graph.output[0].name:
            instead[node.output[0]] = instead.get(passed, passed)
            continue
        for index, name in enumerate(node.input):
            node.input[index] = instead.get(name, name)
        kept.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(_needed(kept, proto.graph.output[0].name))
    used = {name for node in proto.graph.node for name in node.input}
    weights = [weight for weight in proto.graph.initializer if weight.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(weights)


def _ones(proto: Any) -> set[str]:
    """Values that hold nothing but ones (or true)."""
    found: set[str] = set()
    for node in proto.graph.node:
        if node.op_type == "Less" or (node.op_type in KEEPERS and node.input[0] in found):
            found.add(node.output[0])
    return found


def _passed(node: Any, ones: set[str], never: set[str]) -> str | None:
    """The input that comes out of ``node`` unchanged, if one does."""
    if node.op_type == "Mul" and node.output[0] not in ones:
        for one, other in ((0, 1), (1, 0)):
            if node.input[one] in ones and node.input[other] not in ones:
                return str(node.input[other])
    if node.op_type == "Where" and node.input[0] in never:
        return str(node.input[2])
    return None


def _needed(nodes: list[Any], output: str) -> list[Any]:
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
