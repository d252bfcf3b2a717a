"""Where this process computes: chosen once, by `imlkd launch --ngpu`, and a CPU without it."""

from __future__ import annotations

import os

import torch

from imlkd.errors import UserError

GPUS = "IMLKD_NGPU"
"""GPUs of this machine that the training uses, a process each; set by `imlkd launch`."""


def training_device() -> torch.device:
    """The GPU of this process, made torch's current one, or the CPU.

    :raises UserError: when the machine has fewer GPUs than were asked for.
    """
    wanted = int(os.environ.get(GPUS, "0"))
    if not wanted:
        return torch.device("cpu")
    check_gpus(wanted)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def check_gpus(wanted: int) -> None:
    """UserError when torch has fewer GPUs than ``wanted``."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted > there:
        many = f"{there} GPU" if there == 1 else f"{there} GPUs"
        raise UserError(
            f"--ngpu {wanted}: torch can use {many} of this machine (`imlkd doctor` says why): lower it, or take"
            " --ngpu 0, which trains on the CPU"
        )


def make_deterministic(device: torch.device) -> None:
    """Choose algorithms that give the same result each time; on a GPU a warning says where there is none."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is taken
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
