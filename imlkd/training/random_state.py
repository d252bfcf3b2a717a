"""The random states of a process: torch's on every device, numpy's and Python's, as tensors and plain values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

KIND = "MT19937"  # the only generator of numpy's global state


def random_state() -> dict[str, Any]:
    """What `restore_random_state` takes; safe to read back with ``weights_only=True``."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, python_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, torch.tensor(words, dtype=torch.int64), python_gauss],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Make what is drawn next what was drawn after `random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((KIND, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, python_gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), python_gauss))


def seed_of(*parts: int) -> int:
    """One seed from several numbers, well mixed, so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
