"""How a training went, epoch by epoch, and how it was expected to go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from imlkd.reporting.expected import expected_loss, read_log

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


def learning_of(folder: Path, expected: Path | None) -> Learning | None:
    """None for a model without a log: it was imported."""
    log = read_log(folder)
    if not log:
        return None
    names = [name for name in log[0] if name not in NO_TERMS and not name.startswith("gradient_")]
    shown = ["loss", *(names if len(names) > 1 else [])]
    terms = {name: [float(entry.get(name, math.nan)) for entry in log] for name in shown}
    epochs = [entry["epoch"] for entry in log]
    wanted, origin = expected_loss(expected, folder)
    if not wanted:
        return Learning(folder.name, epochs, terms, [], f"Nothing to compare with: {origin}.")
    return Learning(folder.name, epochs, terms, wanted, _said(epochs, terms["loss"], wanted, origin))


def _said(epochs: list[int], losses: list[float], wanted: list[float], origin: str) -> str:
    pairs = {epoch: (own, wanted[epoch - 1]) for epoch, own in zip(epochs, losses, strict=True) if epoch <= len(wanted)}
    apart = {epoch: abs(own - other) / max(abs(other), 1e-9) for epoch, (own, other) in pairs.items()}
    if not apart:
        return f"The expected curve ({origin}) has none of these epochs."
    worst = max(apart, key=apart.__getitem__)
    count = f"; {len(epochs)} epochs, expected {len(wanted)}" if len(epochs) != len(wanted) else ""
    return (
        f"Farthest from the expected loss ({origin}) at epoch {worst}: {pairs[worst][0]:.4g} against"
        f" {pairs[worst][1]:.4g}, {100 * apart[worst]:.1f} %{count}."
    )
