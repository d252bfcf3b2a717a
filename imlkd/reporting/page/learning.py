"""How a training went, epoch by epoch, and how it was expected to go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from imlkd.training.curve import EXPECTED, LOG, read_curve

NO_TERMS = (
    "epoch", "seconds", "loss", "learning_rate", "samples_per_second", "loader_wait", "spread", "agreement",
    "teacher_posterior",
)  # fmt: skip


@dataclass(frozen=True)
class Learning:
    """Of one model.

    :param terms: ``loss`` and, where there are several, each of its terms: a value an epoch.
    :param expected: the loss by epoch, from the first one; empty without.
    :param said: one line: how far the two lie apart, or why there is nothing to compare with.
    """

    model: str
    epochs: list[int]
    terms: dict[str, list[float]]
    expected: list[float]
    said: str


def learning_of(folder: Path) -> Learning | None:
    """None for a model without a log: it was imported.

    :raises UserError: naming the line of a log that is no entry of an epoch.
    """
    if not (folder / LOG).is_file():
        return None
    log = read_curve(folder / LOG).entries
    if not log:
        return None
    names = [name for name in log[0] if name not in NO_TERMS and not name.startswith("gradient_")]
    shown = ["loss", *(names if len(names) > 1 else [])]
    terms = {name: [entry.get(name, math.nan) for entry in log] for name in shown}
    epochs = [int(entry["epoch"]) for entry in log]
    if not (folder / EXPECTED).is_file():
        return Learning(folder.name, epochs, terms, [], "The recipe has no curve for a training with these settings.")
    wanted = [entry["loss"] for entry in read_curve(folder / EXPECTED).entries]
    return Learning(folder.name, epochs, terms, wanted, _said(epochs, terms["loss"], wanted))


def _said(epochs: list[int], losses: list[float], wanted: list[float]) -> str:
    pairs = {epoch: (own, wanted[epoch - 1]) for epoch, own in zip(epochs, losses, strict=True) if epoch <= len(wanted)}
    apart = {epoch: abs(own - other) / max(abs(other), 1e-9) for epoch, (own, other) in pairs.items()}
    if not apart:
        return "The expected curve has none of these epochs."
    worst = max(apart, key=apart.__getitem__)
    count = f"; {len(epochs)} epochs, expected {len(wanted)}" if len(epochs) != len(wanted) else ""
    return (
        f"Farthest from the expected loss at epoch {worst}: {pairs[worst][0]:.4g} against {pairs[worst][1]:.4g},"
        f" {100 * apart[worst]:.1f} %{count}."
    )
