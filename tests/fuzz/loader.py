"""What a kind of input is, and what kinds have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import toy_voice

Files = dict[str, bytes]
GIVEN = "given-"  # how files are called that only have to be there


@dataclass(frozen=True)
class Loader:
    """One kind of input.

    :param write: leaves whole files in a folder; those that start with ``given-`` are never damaged.
    :param use: reads them as the package does and uses what was read, in the folder as working directory.
    """

    write: Callable[[Path], None]
    use: Callable[[Path], None]


def voice(seed: int = 0) -> np.ndarray:
    """A recording that models can embed."""
    return toy_voice(0, 0.4, seed)


def all_of(*reads: Callable[[], object]) -> None:
    """Try each way of reading; the first one's refusal is that of all."""
    from imlkd.errors import UserError

    refusals = []
    for read in reads:
        try:
            read()
        except UserError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def remove_all_but(keep: Callable[[Path], bool], folder: Path) -> None:
    """Files that are no part of the kind."""
    for path in list(folder.rglob("*")):
        if path.is_file() and not keep(path):
            path.unlink()
