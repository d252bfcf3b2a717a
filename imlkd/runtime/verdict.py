"""What is said of a trial: score, log-likelihood ratio, decision, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from imlkd.kaldi_io import FloatArray
from imlkd.runtime.thresholds import OperatingPoint
from imlkd.scoring.calibration import Calibration
from imlkd.scoring.quality import Quality


@dataclass(frozen=True)
class Verdict:
    """One trial, judged.

    :param score: cosine, -1 to 1.
    :param llr: log-likelihood ratio (natural logarithm); None without a calibration.
    :param point: where the decision is made; None: nowhere, and then ``accepted`` and ``margin`` are None too.
    :param accepted: whether the score reaches the threshold of ``point``.
    :param posterior: probability that both sides are one speaker, when ``prior`` is that before listening; None
        without a calibration.
    """

    score: float
    llr: float | None
    accepted: bool | None
    point: OperatingPoint | None
    prior: float
    posterior: float | None

    @property
    def margin(self) -> float | None:
        """How far the score lies above the threshold, on the scale of the score."""
        return None if self.point is None else self.score - self.point.threshold

    def decision(self) -> str:
        """In words, with the operating point."""
        if self.point is None:
            return "none: the model carries no threshold: say one, --operating-point threshold=X"
        word = "same speaker" if self.accepted else "different speakers"
        return f"{word} at {self.point.name}: threshold {self.point.threshold:.4f} ({self.point.source})"

    def how_sure(self) -> str:
        """The posterior where there is one; else the margin, which is no probability and is not called one."""
        if self.posterior is not None:
            return f"probability {_percent(self.posterior)} that both are one speaker, for a prior of {self.prior:g}"
        if self.margin is None:
            return "not said: the model carries neither a threshold nor a calibration"
        side = "above" if self.margin >= 0 else "below"
        return f"{abs(self.margin):.4f} {side} the threshold; without a calibration that is no probability"

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is infinite becomes null."""
        point, words = self.point, {True: "same", False: "different", None: None}
        return {
            "score": round(self.score, 7),
            "llr": None if self.llr is None else round(self.llr, 6),
            "decision": words[self.accepted],
            "operating_point": point and point.name,
            "threshold": None if point is None else _finite(point.threshold),
            "threshold_source": point and point.source,
            "margin": None if self.margin is None else _finite(self.margin),
            "prior": self.prior,
            "posterior": None if self.posterior is None else float(f"{self.posterior:.6g}"),
        }


def judge(
    score: float,
    point: OperatingPoint | None,
    calibration: Calibration | None,
    prior: float,
    seconds: tuple[float, float] = (0.0, 0.0),
) -> Verdict:
    """The verdict on a trial of this cosine.

    :param seconds: durations of the two sides, for calibrations that were fitted with durations.
    """
    llr = None if calibration is None else llr_of(score, calibration, seconds)
    posterior = None if llr is None else _logistic(llr + math.log(prior / (1.0 - prior)))
    return Verdict(score, llr, None if point is None else point.accepts(score), point, prior, posterior)


def llr_of(score: float, calibration: Calibration, seconds: tuple[float, float]) -> float | None:
    """Log-likelihood ratio; None when the calibration wants a measure that two recordings alone do not give."""
    if not all(name.startswith("duration_") for name in calibration.quality):
        return None
    logs = {name: math.log(max(value, 1e-3)) for name, value in zip("ab", seconds, strict=True)}
    return float(calibration.apply(np.array([score]), ["a"], ["b"], Quality({"duration": logs}))[0])


def cosine(a: FloatArray, b: FloatArray) -> float:
    """Cosine of two embeddings (D,), in double precision."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def _percent(share: float) -> str:
    """Never 0 % or 100 %: no calibration is that sure."""
    return "under 0.01 %" if share < 1e-4 else "over 99.99 %" if share > 0.9999 else f"{share:.2%}".replace("%", " %")


def _finite(value: float) -> float | None:
    return round(value, 7) if math.isfinite(value) else None
