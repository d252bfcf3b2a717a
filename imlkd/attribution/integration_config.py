"""Settings of the engine of Integrated Gradients."""

from __future__ import annotations

from dataclasses import dataclass

from imlkd.attribution.memory import parse_memory
from imlkd.attribution.paths import PATHS
from imlkd.attribution.rules import PATTERSON, PATTERSON_SIZES, RULES
from imlkd.config import bounded, chosen
from imlkd.errors import UserError

LOWEST_TOLERANCE = 1e-9


@dataclass(frozen=True)
class IntegrationConfig:
    """Path, nodes, tolerance, memory. The defaults are those that docs/engine.md measures."""

    path: str = chosen("features", PATHS, help="what the path is straight in: the features, or their exponential")
    rule: str = chosen("adaptive", RULES, help="quadrature; adaptive halves the worst pieces of the path")
    power: float = bounded(1.0, low=1.0, high=16.0, help="p of alpha = u^p, which packs nodes at the baseline")
    nodes: int = bounded(8, low=1, high=4096, help="gradients of the first rule")
    max_nodes: int = bounded(64, low=1, high=4096, help="gradients of the last one; nodes double up to it")
    tolerance: float = bounded(0.05, low=LOWEST_TOLERANCE, high=10.0, help="relative completeness error")
    policy: str = chosen("exclude", ("keep", "exclude"), help="what becomes of utterances that fail at max_nodes")
    max_failing: float = bounded(0.01, low=0.0, high=1.0, help="share of utterances that may fail")
    resolution: str = chosen("frame", ("frame", "time-frequency"), help="values of a map")
    precision: str = chosen("auto", ("auto", "float32", "bfloat16"), help="of the gradients; auto: as a trial says")
    memory: str = ""  # size such as 2G; empty: half of what is free
    fold: bool = True
    compile: bool = False
    rows: int = bounded(16, low=1, high=65536, help="gradients at once, where memory allows")

    def check(self) -> None:
        """UserError where values do not go together."""
        if not self.tolerance >= LOWEST_TOLERANCE:
            raise UserError(f"tolerance {self.tolerance:g}: no sum is exact: give 0.05, or 1e-9 at least")
        if self.nodes > self.max_nodes:
            raise UserError(f"nodes {self.nodes} exceed max_nodes {self.max_nodes}: raise max_nodes")
        if self.rule == "clenshaw-curtis" and self.nodes % 2:
            raise UserError(f"nodes {self.nodes}: the rule {self.rule} needs an even number")
        if self.rule == PATTERSON and self.nodes not in PATTERSON_SIZES:
            raise UserError(f"nodes {self.nodes}: the rule {self.rule} has {', '.join(map(str, PATTERSON_SIZES))}")
        if self.memory:
            parse_memory(self.memory)
