"""What a training cost, from what it left in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from imlkd.files import parse_json, parse_yaml


@dataclass(frozen=True)
class Cost:
    """Of one training by the clock; 0 or None where its folder does not say, as that of an imported teacher.

    :param minutes: in all.
    :param step_ms: milliseconds of a step, the median of the epochs' means.
    :param peak_mb: of the process that ended it.
    """

    minutes: float = 0.0
    step_ms: float | None = None
    peak_mb: float | None = None


def cost_of(model: Path) -> Cost:
    """Of the training whose folder this is."""
    seconds, peak, log = (model / "log" / name for name in ("seconds", "peak_mb", "train.jsonl"))
    return Cost(
        round(float(seconds.read_text()) / 60, 3) if seconds.is_file() else 0.0,
        _step_ms(model / "config.yaml", log) if log.is_file() else None,
        float(peak.read_text()) if peak.is_file() else None,
    )


def _step_ms(config: Path, log: Path) -> float | None:
    batch = parse_yaml(config.read_text(encoding="utf-8"))["training"]["batch"]
    entries = [parse_json(line) for line in log.read_text(encoding="utf-8").splitlines()]
    speeds = [entry["samples_per_second"] for entry in entries if entry.get("samples_per_second")]
    return round(1000 * batch / median(speeds), 2) if speeds else None
