"""The full state of a training, written whole or not at all, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from imlkd.errors import UserError
from imlkd.models.store import load_tensors, save_tensors

NAME = "checkpoint.pt"


def save_checkpoint(
    folder: Path,
    made_from: str,
    epoch: int,
    seconds: float,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    """State after ``epoch`` finished epochs; ``made_from`` is the digest of all that the training depends on."""
    state = {
        "made_from": made_from,
        "epoch": epoch,
        "seconds": seconds,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
    }
    save_tensors(state, folder / NAME)


def restore_checkpoint(
    folder: Path, made_from: str, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[int, float, str]:
    """Load the last state when it belongs to this very training.

    :returns: finished epochs, seconds spent on them, and a line for the log.
    """
    path = folder / NAME
    if not path.is_file():
        return 0, 0.0, "starting from scratch"
    state: dict[str, Any] = load_tensors(path)
    if not isinstance(state, dict) or "made_from" not in state:
        raise UserError(f"{path}: no checkpoint of a training: remove it and run its stage again")
    if state["made_from"] != made_from:
        return 0, 0.0, f"{path} belongs to another configuration or other data: starting from scratch"
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["epoch"], state["seconds"], f"going on after epoch {state['epoch']} from {path}"
