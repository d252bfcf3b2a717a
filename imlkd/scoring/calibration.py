"""Calibration: from scores to log-likelihood ratios (natural logarithm), one scale for every system and condition.

A calibrated score s means: the two sides are exp(s) times as probable when they are one speaker as when they are two.
Accept when s > log((1 - p) / p) for a target prior p (and equal costs), whatever the model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.lists import Trials, TrialSource
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, parse_json
from imlkd.scoring.logistic import Separable, fit_logistic
from imlkd.scoring.metrics import Floats
from imlkd.scoring.quality import OPTIONS, Quality

_NO_QUALITY = Quality()


@dataclass(frozen=True)
class Calibration:
    """An affine map of the score, and of quality measures where some were fitted, to a log-likelihood ratio.

    :param scale: of the score, above 0; ``offset``: added.
    :param quality: weights by feature, as ``duration_min``.
    :param p_target: the prior that it was fitted for.
    :param trials_sha256: of the pairs it was fitted on; ``speakers``: all of theirs, sorted.
    :param score_range: lowest and highest score it was fitted on.
    """

    scale: float
    offset: float
    quality: dict[str, float] = field(default_factory=dict)
    p_target: float = 0.01
    targets: int = 0
    nontargets: int = 0
    trials_sha256: str = ""
    score_range: tuple[float, float] = (-math.inf, math.inf)
    speakers: tuple[str, ...] = ()

    def apply(self, scores: Floats, enroll: list[str], test: list[str], quality: Quality = _NO_QUALITY) -> Floats:
        """Log-likelihood ratios, (T,), of trials with these scores and ids.

        :raises UserError: when a quality measure that it was fitted with is not given, or lacks an id.
        """
        llr = self.scale * scores + self.offset
        if self.quality:
            features = quality.features(enroll, test)
            for name, weight in self.quality.items():
                if name not in features:
                    raise UserError(
                        f"the calibration was fitted with {name}: give the table with {OPTIONS[_measure_of(name)]}"
                    )
                llr = llr + weight * features[name]
        return llr

    def refuse(self, trials: TrialSource, speakers: Collection[str], place: Path | str) -> None:
        """Make sure that it was not fitted on what is now scored.

        :param speakers: all speakers of ``trials``; ``place``: where the calibration was read, for the message.
        :raises UserError: when the pairs are those of the fit, or a speaker is.
        """
        if trial_hash(trials) == self.trials_sha256:
            raise UserError(
                f"{place}: was fitted on the trials of {trials.path} themselves: error rates would be too good; fit "
                "it on development trials of other speakers"
            )
        if shared := sorted(set(speakers) & set(self.speakers)):
            raise UserError(
                f"{place}: was fitted on {len(shared)} of the speakers of {trials.path}, first: "
                f"{', '.join(shared[:5])}: fit it on development trials of other speakers"
            )

    def refuse_foreign(self, inside: int, total: int, place: Path | str) -> None:
        """UserError when fewer than half of the ``total`` scores lie in the range that it was fitted on."""
        if 2 * inside < total:
            low, high = self.score_range
            raise UserError(
                f"{place}: was fitted on scores from {low:.4g} to {high:.4g}, and {total - inside} of {total} scores "
                "lie outside: fit it on scores of the same model, back-end and normalisation"
            )

    def in_range(self, scores: Floats) -> int:
        """How many of ``scores`` lie in the range that it was fitted on."""
        return int(((scores >= self.score_range[0]) & (scores <= self.score_range[1])).sum())

    def to_json(self) -> str:
        """One JSON object with the fields as named here."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    def write(self, path: Path | str) -> None:
        """Write ``to_json`` atomically."""
        atomic_write_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path | str) -> Calibration:
        """Read what ``write`` wrote; UserError when it is missing or damaged."""
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file: fit a calibration first (`imlkd calibrate`)")
        return cls.from_json(path.read_bytes(), path)

    @classmethod
    def from_json(cls, text: str | bytes, place: Path | str) -> Calibration:
        """The inverse of ``to_json``; UserError, which names ``place``, when it is damaged."""
        try:
            values = parse_json(text)
            low, high = map(float, values.pop("score_range"))
            speakers = tuple(map(str, values.pop("speakers")))
            found = cls(**values, score_range=(low, high), speakers=speakers)
            weights = [found.scale, found.offset, *found.quality.values()]
            usable = all(isinstance(value, int | float) and math.isfinite(value) for value in weights)
            usable = usable and found.scale > 0
            usable = usable and all(_measure_of(name) in OPTIONS for name in found.quality)
        except (ValueError, TypeError, KeyError, AttributeError):
            usable = False
        if not usable:
            raise UserError(f"{place}: no calibration, or a damaged one: fit it again (`imlkd calibrate`)")
        return found


def fit_calibration(
    trials: Trials, scores: Floats, speakers: Iterable[str], p_target: float = 0.01, quality: Quality = _NO_QUALITY
) -> Calibration:
    """Fit on development trials; ``scores`` (T,) in their order, ``speakers`` all of theirs.

    :raises UserError: when the kinds are told apart without error, a measure is constant, or scores fall for targets.
    """
    columns = {"score": scores, **quality.features(trials.enroll, trials.test)}
    for name, values in columns.items():
        if np.ptp(values) <= 1e-6 * np.abs(values).max():
            reason = "magnitude: are the embeddings of length 1?" if name.startswith("magnitude") else name
            raise UserError(f"{trials.path}: all trials have the same {reason}: a calibration cannot be fitted with it")
    try:
        weights, offset = fit_logistic(np.column_stack(list(columns.values())), trials.is_target, p_target)
    except Separable:
        raise UserError(
            f"{trials.path}: targets and nontargets are told apart without an error, so that no scale is best: fit on "
            "more, or harder, development trials"
        ) from None
    scale, *rest = weights.tolist()
    if scale <= 0.0:
        raise UserError(f"{trials.path}: scores are lower for targets than for nontargets: do list and scores match?")
    targets = int(trials.is_target.sum())
    return Calibration(
        scale, offset, dict(zip(list(columns)[1:], rest, strict=True)), p_target, targets, len(trials) - targets,
        trial_hash(trials), (float(scores.min()), float(scores.max())),
        tuple(sorted(set(speakers))),
    )  # fmt: skip


def trial_hash(trials: TrialSource) -> str:
    """Of a list's pairs, whatever their order, their sides and their labels: the sum of their SHA-256."""
    total = 0
    for block in trials.blocks():
        for one, other in zip(block.enroll, block.test, strict=True):
            pair = f"{min(one, other)} {max(one, other)}\n".encode()
            total += int.from_bytes(hashlib.sha256(pair).digest(), "big")
    return f"{total % 2**256:064x}"


def _measure_of(feature: str) -> str:
    return feature.rpartition("_")[0]
