"""`fitnets`: a hint from inside the teacher (Romero et al., ICLR 2015, arXiv 1412.6550, eq. 3).

    L = w * mean ( r(F_S^k) - n(F_T^k) )^2,   r = 1x1 convolution and batch norm,  n = standardised channels

One pair of stages, at ``depth`` of both networks. Trained together with the labels, not as a stage before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from imlkd.config import bounded
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.stages import paired, paired_maps, standardised


@dataclass(frozen=True)
class FitnetsConfig:
    """Weight and place."""

    weight: float = bounded(1.0, low=0.0, help="w, of the term")
    depth: float = bounded(0.67, low=0.0, high=1.0, help="relative depth of the hint")


def hint_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of a regressed map from the standardised one, (B, C, T) both."""
    return (student - standardised(teacher)).square().mean()


class Fitnets(Method):
    """One term, ``hint``."""

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"frames"})

    def __init__(self, config: FitnetsConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        pairs = paired(len(student.stages), len(teacher.stages))
        self.pair = min(len(pairs) - 1, int(self.config.depth * len(pairs)))
        ours, theirs = pairs[self.pair]
        self.regressor = nn.Sequential(
            nn.Conv1d(student.stages[ours], teacher.stages[theirs], 1, bias=False),
            nn.BatchNorm1d(teacher.stages[theirs]),
        )

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        ours, theirs = paired_maps(views[0].output.stages, batch.teacher_output.stages)[self.pair]
        return {"hint": self.config.weight * hint_distance(self.regressor(ours), theirs)}
