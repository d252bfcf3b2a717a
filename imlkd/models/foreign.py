"""Weights that others wrote: tensors and plain values only, no code of theirs is ever run."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.errors import UserError
from imlkd.files import os_errors, parse_json

State = dict[str, Tensor]
SAFE = ".safetensors"
KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def read_state(path: Path) -> State:
    """The state dict in a file of ``torch.save`` or of safetensors; one that is wrapped in a mapping is taken out.

    :raises UserError: when the file is missing, damaged, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with os_errors(path):
        content = path.read_bytes()
    try:
        found = safe_tensors(content) if path.suffix == SAFE else _unpickled(content)
    except Exception as error:  # torch and json raise whatever their parsers meet on damaged bytes
        raise UserError(
            f"{path}: damaged, or holds more than tensors and plain values, which is not loaded:"
            " save its state_dict() alone"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()) or not found:
        raise UserError(f"{path}: holds no state dict: save the network's state_dict()")
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def _unpickled(content: bytes) -> object:
    with warnings.catch_warnings():  # on a foreign file the reader warns before it raises
        warnings.simplefilter("ignore")
        found: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return found


def safe_tensors(content: bytes) -> State:
    """Tensors of a safetensors file: 8 bytes of length, a JSON header, raw little-endian values.

    :raises ValueError: when the header does not fit the values.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = parse_json(content[8:start])
    state = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        kind, shape = KINDS[entry["dtype"]], entry["shape"]
        if last - first != math.prod(shape) * kind.itemsize or not 0 <= first <= last <= len(content) - start:
            raise ValueError(name)
        values = bytearray(content[start + first : start + last])
        state[name] = torch.frombuffer(values, dtype=kind).reshape(shape) if values else torch.empty(shape, dtype=kind)
    return state


def renamed(state: Mapping[str, Tensor], names: Iterable[tuple[str, str]]) -> State:
    """Each name after all substitutions, in order."""
    found = {}
    for name, value in state.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def fill(model: nn.Module, state: State, path: Path, what: str) -> None:
    """Load ``state``, every tensor of it and of the network, the bin means of the front-end excepted; then freeze.

    :param what: the network's name in messages.
    :raises UserError: naming the first tensor that is missing, unknown, of another shape or not finite.
    """
    expected = model.state_dict()
    own = {"normalization.bin_mean"}
    for name in [name for name in expected if name.endswith("num_batches_tracked")]:
        state.setdefault(name, torch.zeros((), dtype=torch.int64))
    lacking = sorted(set(expected) - set(state) - own)
    unknown = sorted(set(state) - set(expected))
    if lacking or unknown:
        said = f"lacks {lacking[0]}" if lacking else f"holds {unknown[0]}, which is unknown"
        raise UserError(f"{path}: not the weights of {what}: {said}")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            found, meant = tuple(value.shape), tuple(expected[name].shape)
            raise UserError(f"{path}: not the weights of {what}: {name} is {found}, expected {meant}")
        if not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite")
    model.load_state_dict(state, strict=False)
    model.eval().requires_grad_(False)


def sizes(state: Mapping[str, Tensor], path: Path, what: str, **names: str) -> dict[str, Any]:
    """Number of rows of the named tensors, from which a shape is read.

    :raises UserError: when one is missing.
    """
    for name in names.values():
        if name not in state:
            raise UserError(f"{path}: not the weights of {what}: lacks {name}")
    return {key: len(state[name]) for key, name in names.items()}
