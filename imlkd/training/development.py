"""Speakers that are kept out of the training, and their EER along the way: by it the best weights are chosen."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel
from imlkd.scoring.metrics import eer
from imlkd.training.sampling import Indices, SegmentPool

ROWS = 64  # embedded at once


class Development:
    """One segment, of the longest duration, of each utterance of the held-out speakers, and all pairs of them."""

    def __init__(self, pool: SegmentPool, chosen: list[int]) -> None:
        self.pool, self.chosen = pool, chosen
        labels = pool.classes(np.array(chosen)).numpy()
        first, second = np.triu_indices(len(chosen), 1)
        self._pairs, self._same = (first, second), labels[first] == labels[second]

    @classmethod
    def hold_out(cls, pool: SegmentPool, speakers: int, seed: int) -> Development:
        """Draw ``speakers`` of those with two utterances or more, and keep their segments from being drawn.

        :raises UserError: when there are not so many.
        """
        fit = sorted(label for label, count in pool.class_sizes().items() if count > 1)
        if speakers < 2 or len(fit) <= speakers:
            raise UserError(
                f"training.dev_speakers {speakers}: of {len(fit)} speakers with two utterances or more, give 2 to"
                f" {max(2, len(fit) - 1)}, or 0"
            )
        held = {fit[i] for i in np.random.default_rng([seed, speakers]).permutation(len(fit))[:speakers]}
        pool.hold_out(held)
        longest: dict[str, int] = {}
        for i in pool.of_classes(held).tolist():
            segment = pool.segments[i]
            best = longest.setdefault(segment.utterance, i)
            if segment.frames > pool.segments[best].frames:
                longest[segment.utterance] = i
        return cls(pool, sorted(longest.values(), key=lambda i: (pool.segments[i].frames, i)))

    @torch.no_grad()
    def eer(self, model: SpeakerModel) -> float:
        """Of cosines over all pairs; the model is left in the mode it was in."""
        mode = model.training
        model.eval()
        unit = torch.cat([self._embed(model, rows) for rows in self._batches()])
        model.train(mode)
        scores = (unit @ unit.T).numpy()[self._pairs]
        return round(float(eer(scores[self._same], scores[~self._same]).value), 5)

    def _batches(self) -> list[Indices]:
        """Segments of one duration together."""
        by_duration = itertools.groupby(self.chosen, key=lambda i: self.pool.segments[i].frames)
        groups = [list(group) for _, group in by_duration]
        return [np.array(group[i : i + ROWS]) for group in groups for i in range(0, len(group), ROWS)]

    def _embed(self, model: SpeakerModel, rows: Indices) -> Tensor:
        features = self.pool.crops(rows).to(next(model.parameters()).device)
        lengths = torch.full((len(rows),), features.shape[1])
        return functional.normalize(model.encode(features, lengths).embedding).cpu()
