"""Deletion and insertion: an utterance with part of its frames, or of its time-frequency bins, replaced by a fill.

Units (frames or bins) are taken in an order, the most important first. At fraction q *insertion* shows the first
``round(q N)`` units and fills the rest; *deletion* fills the first ``round(q N)`` and shows the rest. A map that names
what matters makes insertion rise early and deletion fall early (Petsiuk, Das, Saenko, "RISE", BMVC 2018, section 4.3,
for images; the first author of IML-KD measures speaker networks the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MODES = ("insertion", "deletion")
UNITS = ("frame", "bin")
ROWS = 32  # perturbed inputs that go through the network together


@dataclass(frozen=True)
class Probe:
    """An utterance that is taken apart.

    :param features: (T, F) of the model's own front-end.
    :param fill: (T, F), what stands where nothing is shown.
    :param frames: that hold the utterance; a front-end's padding behind them stays as it is and is no unit.
    """

    features: Tensor
    fill: Tensor
    frames: int


def ranks(scores: Tensor) -> Tensor:
    """Place of each unit in its order, 0 for the highest score, of equals the earlier; any shape, kept."""
    flat = scores.flatten()
    found = torch.empty(len(flat), dtype=torch.int64)
    found[flat.argsort(descending=True, stable=True)] = torch.arange(len(flat))
    return found.view(scores.shape)


def shown(rank: Tensor, fraction: float, mode: str) -> Tensor:
    """Which units are seen: bool in the shape of ``rank``."""
    first = rank < round(fraction * rank.numel())
    return first if mode == "insertion" else ~first


def perturbed(probe: Probe, seen: Tensor) -> Tensor:
    """The probe with its unseen units filled.

    :param seen: (..., frames) or (..., frames, F) bool.
    :returns: (..., T, F).
    """
    by_bin = seen.shape[-2:] == (probe.frames, probe.features.shape[1])
    seen = seen if by_bin else seen.unsqueeze(-1)
    inside = torch.where(seen, probe.features[: probe.frames], probe.fill[: probe.frames])
    behind = probe.features[probe.frames :].expand(*inside.shape[:-2], -1, -1)
    return torch.cat([inside, behind], dim=-2)


@torch.no_grad()
def answers(
    model: SpeakerModel,
    probe: Probe,
    orders: Sequence[Tensor],
    read: Callable[[SpeakerOutput], Tensor],
    fractions: Sequence[float] = FRACTIONS,
    rows: int = ROWS,
) -> Tensor:
    """What a model says of a probe as it is taken apart in several orders.

    Nothing shown and everything shown are the same input for all orders and computed once.

    :param orders: ranks of the units of each order, (frames,) or (frames, F).
    :param read: output of R rows -> (R, ...), what is kept of it.
    :param rows: inputs at once, which bounds the memory.
    :returns: (orders, modes, fractions, ...), the modes as in :data:`MODES`.
    """
    places: list[tuple[int, str, float]] = []  # the distinct inputs
    index = torch.empty(len(orders), len(MODES), len(fractions), dtype=torch.int64)
    known: dict[tuple[int, str, float], int] = {}
    for o in range(len(orders)):
        for m, mode in enumerate(MODES):
            for q, fraction in enumerate(fractions):
                place = _distinct(o, mode, fraction)
                if place not in known:
                    known[place] = len(places)
                    places.append(place)
                index[o, m, q] = known[place]
    parts = []
    for first in range(0, len(places), rows):
        seen = torch.stack([shown(orders[o], fraction, mode) for o, mode, fraction in places[first : first + rows]])
        inputs = perturbed(probe, seen)
        parts.append(read(model(inputs, torch.full((len(inputs),), inputs.shape[1], device=inputs.device))))
    return torch.cat(parts)[index]


def _distinct(order: int, mode: str, fraction: float) -> tuple[int, str, float]:
    """One name for inputs that are equal: nothing shown, everything shown."""
    if fraction in (0.0, 1.0):
        return 0, MODES[0], fraction if mode == MODES[0] else 1.0 - fraction
    return order, mode, fraction
