"""Paths between baseline and input. A straight one in log features completes early, one in power is steep at first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imlkd.errors import UserError

PATHS = ("features", "power")
LARGEST_LOG = 80.0  # exp of more leaves float32


@dataclass(frozen=True)
class Path:
    """Straight in the features, or (``power``) straight in their exponential: linear power for log-mel features.

    Along ``z(alpha) = z' + alpha (z - z')`` with ``x = log z`` the attribution of a bin is the integral of
    ``dF/dx * dx/dalpha``, so completeness holds on either path (Sundararajan et al., ICML 2017, section 4, remark 2).
    """

    name: str = "features"

    def __post_init__(self) -> None:
        if self.name not in PATHS:
            raise UserError(f"path {self.name!r}: expected one of {', '.join(PATHS)}")

    def coordinates(self, features: Tensor) -> Tensor:
        """Features -> what the path is straight in."""
        return features if self.name == "features" else features.clamp(max=LARGEST_LOG).exp()

    def at(self, start: Tensor, end: Tensor, alpha: Tensor) -> Tensor:
        """Features at ``alpha`` between two places in coordinates; a sum of positive parts, as ``log`` needs it."""
        place = (1 - alpha) * start + alpha * end
        return place if self.name == "features" else place.log()

    def velocity(self, point: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """d features / d alpha at a point of the path."""
        step = end - start
        return step if self.name == "features" else step * (-point).exp()
