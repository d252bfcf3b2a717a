"""Completeness over a corpus: what failed, how many nodes it took, and when a stage has to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median

from imlkd.errors import UserError

SMALLEST_CHANGE = 1e-3  # below this change of the explained quantity a relative error says nothing


@dataclass
class Convergence:
    """Nodes and relative error of every utterance.

    :param tolerance: relative completeness error that is still right.
    :param policy: ``keep`` or ``exclude`` what fails.
    :param max_failing: share of utterances that may fail.
    """

    tolerance: float
    policy: str
    max_failing: float
    errors: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    gradients: int = 0

    def add(self, name: str, nodes: int, error: float, gradients: int) -> None:
        """Note one utterance."""
        self.errors[name], self.nodes[name] = error, nodes
        self.gradients += gradients

    @property
    def failing(self) -> list[str]:
        """Names of those over the tolerance, in order."""
        return [name for name, error in self.errors.items() if error > self.tolerance]

    def line(self) -> str:
        """One line for a log."""
        if not self.errors:
            return "completeness: nothing was explained"
        failing = len(self.failing)
        what = {"keep": "kept", "exclude": "excluded"}[self.policy]
        return (
            f"completeness: median error {median(self.errors.values()):.1%}, {failing} of {len(self.errors)}"
            f" ({failing / len(self.errors):.1%}) over {self.tolerance:.0%} and {what};"
            f" {fmean(self.nodes.values()):.1f} nodes on average"
        )

    def check(self) -> None:
        """UserError when more than ``max_failing`` of the utterances failed."""
        failing = self.failing
        if len(failing) > self.max_failing * len(self.errors):
            raise UserError(
                f"{len(failing)} of {len(self.errors)} utterances are over the completeness tolerance of"
                f" {self.tolerance:.0%}, more than {self.max_failing:.0%} (first: {' '.join(failing[:5])}):"
                " raise max_nodes, or tolerance, or take another path or baseline"
            )
