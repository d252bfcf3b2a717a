"""A memory budget, and how many rows of a batch it holds: no corpus, however long, takes more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from imlkd.errors import UserError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SHARE_OF_FREE = 0.5
TRANSIENT = 1.5  # what is saved for the backward pass, plus gradients and workspaces while it runs
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def parse_memory(text: str) -> int:
    """``2G``, ``500M``, ``1.5G`` or bytes -> bytes. UserError for anything else, and for nothing at all."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if size <= 0:
        raise UserError(f"memory {text!r}: expected a size such as 500M or 2G")
    return size


def format_memory(size: float) -> str:
    """Bytes as ``12M`` or ``1.5G``, rounded up so that the size given back is enough."""
    for unit in ("G", "M"):
        if size >= UNITS[unit]:
            return f"{-(-size * 10 // UNITS[unit]) / 10:g}{unit}"
    return f"{-(-size // UNITS['K']):g}K"


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device: of a GPU by its driver, else by the kernel and the process's control group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):
        pass  # no limit, or not cgroup 2
    return max(free, 0)


def saved_bytes(step: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of what ``step`` returns, parameters left out."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and not tensor.requires_grad):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        held = step()
    del held
    return sum(kept.values())


def rows_within(budget: int, bytes_a_row: float, needed_for: str) -> int:
    """Rows that fit; UserError with what one row needs when none does."""
    rows = int(budget // (TRANSIENT * bytes_a_row))
    if rows < 1:
        raise UserError(
            f"memory {format_memory(budget)} is too small for {needed_for}: one gradient needs"
            f" {format_memory(TRANSIENT * bytes_a_row)}: raise `memory` to that (--memory, in the recipe"
            " --relevance-set memory=SIZE), or shorten the segments"
        )
    return rows


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in OUT_OF_MEMORY)
