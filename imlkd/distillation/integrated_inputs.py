"""Integrated inputs: the teacher's relevance worked into what student and teacher hear.

One operator, ``x~ = x' + G * (x - x')``: an interpolation between a baseline and the input, without gradient through
``G``. The exact form of arXiv 2409.09389 is not public; II-soft is our reading, the others are ablations and controls
(docs/method.md):

| name | G |
|---|---|
| ``soft`` | rho + (1 - rho) a, a the relevance of the frame |
| ``tf`` | rho + (1 - rho) minmax(relu(A)), A the map over frames and bins |
| ``top`` | 1 for the share q of frames with the highest relevance, else 0; q drawn for each segment |
| ``del`` | 1 - ``top`` |
| ``add`` | no gate: x~ = x + beta std(x) / std(A) A |
| ``path`` | one number for all frames, drawn for each segment: control without attribution |
| ``perm`` | ``soft`` with the frames' relevance in a drawn order: control with wrong places |
| ``energy`` | ``soft`` with the frames' log energy for relevance: control without a teacher's gradient |
| ``id`` | 1: x~ = x, control with as many student passes |

Gates lie over time, so teacher and student may have different front-ends and frame rates; ``tf`` and ``add`` lie over
time and bins, so these two need one front-end.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch
from torch import Tensor

from imlkd.config import bounded, chosen, text
from imlkd.errors import UserError

GATES = ("soft", "tf", "top", "add", "del", "path", "perm", "energy", "id")
NEED_MAP = ("tf", "add")  # the map over frames and bins, not the frames' relevance alone


@dataclass(frozen=True)
class GateConfig:
    """Which integrated input, and its numbers."""

    kind: str = chosen("soft", GATES, help="of the integrated input")
    rho: float | None = bounded(None, low=0.0, high=1.0, help="gate of an irrelevant frame; null: that of stage 3")
    top_low: float = bounded(0.3, low=0.0, high=1.0, help="`top`, `del`: smallest share q of frames")
    top_high: float = bounded(0.9, low=0.0, high=1.0, help="`top`, `del`: largest share q of frames")
    beta: float = bounded(0.5, low=0.0, high=10.0, help="`add`: strength of the map")
    relevance: str = text("segment", help="`segment` (its own), `online`, or a curve: `fused`, `full`, its frames")
    nodes: int = bounded(8, low=2, high=512, help="`online`: gradients of a map")
    target: str = chosen("gated", ("gated", "clean"), help="input that the teacher answers: x~ or x")
    student: str = chosen("gated", ("gated", "clean"), help="input that the student answers: x~ or x")
    share: float = bounded(1.0, low=0.0, high=1.0, help="of the batches that have integrated inputs")

    def check(self) -> None:
        """UserError where two values do not go together."""
        if self.top_low > self.top_high:
            raise UserError(f"gate.top_low: {self.top_low:g} is above top_high, {self.top_high:g}: lower it")


def check_gate_name(name: str) -> None:
    """UserError, with the nearest name, for a gate that there is not."""
    if name not in GATES:
        near = difflib.get_close_matches(name, GATES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(GATES)}"
        raise UserError(f"unknown gate {name!r}: {hint}")


def mean_frame(features: Tensor) -> Tensor:
    """The baseline x': each utterance's mean frame, (B, T, F) -> (B, 1, F). It carries no temporal information."""
    return features.mean(1, keepdim=True)


def soft_gate(relevance: Tensor, rho: float) -> Tensor:
    """II-soft: relevance a in [0, 1], (B, T) -> G in [rho, 1]; rho = 1 leaves the input as it is."""
    return rho + (1.0 - rho) * relevance


def map_gate(attribution: Tensor, rho: float) -> Tensor:
    """II-tf: (B, T, F) map A -> G of the same shape; relu, then min-max over the whole map of a segment."""
    positive = attribution.detach().clamp_min(0.0)
    low, high = positive.amin((1, 2), keepdim=True), positive.amax((1, 2), keepdim=True)
    return soft_gate((positive - low) / (high - low).clamp_min(torch.finfo(positive.dtype).tiny), rho)


def top_gate(relevance: Tensor, share: Tensor) -> Tensor:
    """II-top: 1 for the ``round(share T)`` frames of highest relevance, one at least, of equals the earlier.

    :param relevance: (B, T).
    :param share: (B,) q.
    """
    count = (share * relevance.shape[1]).round().clamp_min(1)
    rank = relevance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank < count[:, None]).to(relevance.dtype)


def permuted(relevance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each row's frames in an order of their own, drawn from ``generator`` (None: torch's)."""
    order = torch.rand(relevance.shape, generator=generator).argsort(1)
    return relevance.gather(1, order.to(relevance.device))


def time_gate(config: GateConfig, relevance: Tensor, rho: float, generator: torch.Generator | None = None) -> Tensor:
    """The gate over frames of every kind but ``tf`` and ``add``: relevance (B, T) -> (B, T) in [0, 1]."""
    relevance = relevance.detach()
    if config.kind == "soft":
        return soft_gate(relevance, rho)
    if config.kind == "perm":
        return soft_gate(permuted(relevance, generator), rho)
    drawn = torch.rand(len(relevance), generator=generator).to(relevance)
    if config.kind == "path":
        return drawn[:, None].expand_as(relevance)
    if config.kind in ("top", "del"):
        kept = top_gate(relevance, config.top_low + (config.top_high - config.top_low) * drawn)
        return kept if config.kind == "top" else 1.0 - kept
    raise ValueError(f"{config.kind}: no gate over time")


def at_frames(gate: Tensor, frames: int) -> Tensor:
    """A gate over time at another frame rate: (B, T) -> (B, frames), each the mean over the time that it covers."""
    length = gate.shape[1]
    if length == frames:
        return gate
    total = torch.nn.functional.pad(gate.double().cumsum(1), (1, 0))
    ends = torch.arange(frames + 1, dtype=torch.float64, device=gate.device) * (length / frames)
    whole = ends.floor().long().clamp(max=length - 1)
    until = total[:, whole] + (ends - whole) * gate.double()[:, whole]
    return (until.diff(dim=1) * (frames / length)).clamp(0.0, 1.0).to(gate.dtype)


def frame_energy(features: Tensor) -> Tensor:
    """Log energy of the frames as a gate sees it: mean over the bins of log mel (B, T, F) -> (B, T)."""
    return features.mean(2)


def gated(features: Tensor, gate: Tensor) -> Tensor:
    """``x' + G (x - x')``: (B, T, F) and G (B, T'), brought to T frames, or (B, T, F) -> (B, T, F)."""
    baseline = mean_frame(features)
    weight = gate if gate.ndim == 3 else at_frames(gate, features.shape[1])[:, :, None]
    return torch.lerp(baseline.expand_as(features), features, weight.detach())


def overlaid(features: Tensor, attribution: Tensor, beta: float) -> Tensor:
    """II-add: ``x + beta std(x) / std(A) A``, deviations over the frames and bins of a segment; all (B, T, F)."""
    attribution = attribution.detach()
    deviation = attribution.std((1, 2), keepdim=True)
    scale = torch.where(deviation > 0, features.std((1, 2), keepdim=True) / deviation, 0.0)
    return features + beta * scale * attribution
