"""Stage 3: what the teacher says of every training segment, as arks that the student's training reads.

For each segment: frame relevance, embedding, cosines to the classes, and cosines for the integrated input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imlkd.attribution.integrated_gradients import explain, mean_frame_baseline
from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.files import atomic_open
from imlkd.kaldi_io import ArkWriter, FloatArray
from imlkd.models.speaker_model import SpeakerModel
from imlkd.progress import Progress

KINDS = ("relevance", "embedding", "cosines", "cosines_gated")


@dataclass
class Target:
    """The teacher's answer to one segment."""

    segment: Segment
    arrays: dict[str, FloatArray]
    error: float


@dataclass
class Explainer:
    """A teacher, the classes its students have, and where to hear the segments.

    :param classes: the student's speakers in order; all must be in the teacher's head.
    :param labels: speaker of each utterance.
    """

    model: SpeakerModel
    classes: list[str]
    labels: dict[str, str]
    speech: SpeechReader
    config: RelevanceConfig

    def __post_init__(self) -> None:
        head = self.model.head
        if head is None:
            raise UserError("the teacher has no speaker head: run stage 2 again")
        rows = {speaker: row for row, speaker in enumerate(head.speakers)}
        lacking = [speaker for speaker in self.classes if speaker not in rows]
        if lacking:
            raise UserError(
                f"the teacher's head lacks {len(lacking)} training speakers (first: {' '.join(lacking[:5])}):"
                " train the teacher on data that holds them, or fit its head again (stage 2)"
            )
        self._columns = torch.tensor([rows[speaker] for speaker in self.classes])
        self._row_of = rows

    def targets(self, segments: list[Segment]) -> Iterator[Target]:
        """Targets of all segments, explained in batches of one duration."""
        ordered = sorted(segments, key=lambda s: (s.frames, s.id.encode()))
        for frames, same in groupby(ordered, key=lambda s: s.frames):
            group = list(same)
            for first in range(0, len(group), self.config.batch):
                yield from self._batch(group[first : first + self.config.batch], frames)

    def _batch(self, segments: list[Segment], frames: int) -> Iterator[Target]:
        features = torch.stack([self.model.frontend(self.speech.segment(segment)) for segment in segments])
        labels = torch.tensor([self._row_of[self.labels[segment.utterance]] for segment in segments])
        explanation = explain(self.model, features, labels, frames, self.config, [s.id for s in segments])
        relevance = frame_relevance(explanation.attribution[:, :frames], self.config)
        heard = self._answer(features)
        gated = self._answer(self._integrated(features, relevance, frames))
        for i, segment in enumerate(segments):
            arrays = {
                "relevance": relevance[i].numpy(),
                "embedding": heard[0][i].numpy(),
                "cosines": heard[1][i].numpy(),
                "cosines_gated": gated[1][i].numpy(),
            }
            yield Target(segment, arrays, float(explanation.error[i]))

    def _integrated(self, features: Tensor, relevance: Tensor, frames: int) -> Tensor:
        """x~ of the teacher's own features; a front-end's padding behind ``frames`` is left alone."""
        gate = torch.ones(features.shape[:2])
        gate[:, :frames] = self.config.rho + (1.0 - self.config.rho) * relevance
        return torch.lerp(mean_frame_baseline(features, frames), features, gate[:, :, None])

    @torch.no_grad()
    def _answer(self, features: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(features, torch.full((len(features),), features.shape[1]))
        assert output.cosines is not None
        return output.embedding, output.cosines[:, self._columns]


def write_targets(
    explainer: Explainer, segments: list[Segment], folder: Path, job: int, progress: Path | None
) -> None:
    """Write ``KIND.JOB.ark/scp`` and, last, ``convergence.JOB.txt`` (segment, nodes, relative error)."""
    errors: dict[str, float] = {}
    with ExitStack() as stack, Progress(f"explain.{job}", len(segments), progress) as counted:
        writers = {
            kind: stack.enter_context(ArkWriter(folder / f"{kind}.{job}.ark", folder / f"{kind}.{job}.scp"))
            for kind in KINDS
        }
        for target in explainer.targets(segments):
            if not all(np.isfinite(array).all() for array in target.arrays.values()):
                raise UserError(f"{target.segment.id}: the teacher's output holds NaN or infinite values")
            for kind, array in target.arrays.items():
                writers[kind].write(target.segment.id, array)
            errors[target.segment.id] = target.error
            counted.update()
    with atomic_open(folder / f"convergence.{job}.txt") as stream:
        stream.writelines(f"{name} {explainer.config.nodes} {error:.5f}\n" for name, error in sorted(errors.items()))


def join_convergence(parts: list[Path], joined: Path, tolerance: float) -> str:
    """Join the jobs' convergence tables; returns a line that says how many segments are over the tolerance."""
    lines = sorted(line for part in parts for line in part.read_text(encoding="utf-8").splitlines())
    with atomic_open(joined) as stream:
        stream.writelines(f"{line}\n" for line in lines)
    errors = np.array([float(line.split()[2]) for line in lines])
    over = int((errors > tolerance).sum())
    return (
        f"completeness: median error {np.median(errors):.1%}, {over} of {len(errors)} segments"
        f" ({over / len(errors):.1%}) over {tolerance:.0%}"
    )
