"""Thresholds that a model carries along, and the operating points that a decision can be made at."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imlkd.errors import UserError
from imlkd.files import parse_json
from imlkd.scoring.calibration import Calibration

POINTS = ("eer", "0.01", "0.001")


@dataclass(frozen=True)
class Thresholds:
    """Scores (cosines) from which on a trial is accepted, as they were best on one trial list.

    :param values: by operating point: ``eer``, or the target prior of a minDCF as text (``0.01``). Infinite: accept
        nothing.
    :param trials: the list, ``<set>/<list>``; empty when there is none.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    trials: str = ""

    @classmethod
    def from_json(cls, text: str, place: Path | str) -> Thresholds:
        """Read ``{"eer": 0.31, "0.01": 0.46, "0.001": null, "list": "minivox_test/trials"}``; null accepts nothing.

        :raises UserError: naming ``place``, for anything else.
        """
        try:
            return cls.from_dict(parse_json(text) if text else {})
        except (ValueError, TypeError, AttributeError):
            raise UserError(f"{place}: its thresholds are damaged: export the model again") from None

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Thresholds:
        """The same from a dictionary; ValueError or TypeError for other values."""
        trials = str(found.get("list") or "")
        values = {key: math.inf if value is None else float(value) for key, value in found.items() if key != "list"}
        if any(math.isnan(value) for value in values.values()):
            raise ValueError("NaN")
        return cls(values, trials)


@dataclass(frozen=True)
class OperatingPoint:
    """Where a decision is made.

    :param name: as the user said it; ``threshold``: of the score, a cosine; accept from there on.
    :param source: in words, where the threshold comes from.
    """

    name: str
    threshold: float
    source: str

    @property
    def prior(self) -> float | None:
        """The target prior that the point is named by."""
        return None if self.name == "eer" or "=" in self.name else float(self.name)

    def accepts(self, score: float) -> bool:
        """Whether ``score`` says that both sides are one speaker."""
        return score >= self.threshold


def operating_point(name: str, thresholds: Thresholds, calibration: Calibration | None) -> OperatingPoint:
    """``eer``, a target prior such as ``0.01``, or ``threshold=X``.

    A target prior with a calibration is Bayes' threshold, where the log-likelihood ratio is log((1 - p) / p); without
    one, and for ``eer``, it is the threshold that was best on the list that the model names.

    :raises UserError: for a name that is none of these, or one that the model has no threshold for.
    """
    if match := re.fullmatch(r"threshold=(.+)", name):
        return OperatingPoint(name, _number(match[1], name), "given")
    prior = None if name == "eer" else _number(name, name)
    if prior is not None and not 0.0 < prior < 1.0:
        raise UserError(f"--operating-point {name}: a target prior lies between 0 and 1")
    if prior is not None and calibration is not None and not calibration.quality:
        threshold = (math.log((1.0 - prior) / prior) - calibration.offset) / calibration.scale
        return OperatingPoint(name, threshold, f"Bayes' threshold for a target prior of {name}")
    known = thresholds.values if prior is None else {_key(key): value for key, value in thresholds.values.items()}
    key = name if prior is None else _key(name)
    if key not in known:
        has = ", ".join(thresholds.values) or "none"
        raise UserError(
            f"--operating-point {name}: the model carries no such threshold (it has: {has}): "
            "say one yourself, --operating-point threshold=X"
        )
    what = "equal error rate" if prior is None else f"minDCF({name})"
    return OperatingPoint(name, known[key], f"{what} on {thresholds.trials or 'an unnamed list'}")


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"--operating-point {name}: expected eer, a target prior (0.01), or threshold=X")
    return value


def _key(name: str) -> str:
    """One spelling for 0.01, 1e-2 and .010."""
    try:
        return f"{float(name):g}"
    except ValueError:
        return name
