"""Rows of the result table: one a model and trial list, from what the stages left on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from imlkd.errors import UserError
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.store import load_model
from imlkd.scoring.evaluate import Evaluation


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param minutes: of training; None for a model that was imported.
    """

    model: str
    trials: str
    parameters: int
    macs: int
    evaluation: Evaluation
    minutes: float | None
    config_hash: str

    @property
    def parameters_said(self) -> str:
        """In thousands, if they can be counted."""
        return f"{self.parameters / 1e3:,.0f} k" if self.parameters else "not counted"

    @property
    def macs_said(self) -> str:
        """In millions, if they can be counted."""
        return f"{self.macs / 1e6:,.1f} M" if self.macs else "not counted"

    @property
    def minutes_said(self) -> str:
        """Of training, if there was one."""
        return "imported" if self.minutes is None else f"{self.minutes:.1f}"

    def cells(self) -> list[str]:
        """Texts of the table's columns."""
        eer, cost = self.evaluation.eer, self.evaluation.min_dcf[0.01]
        mark = " (few speakers)" if self.evaluation.few_speakers else ""
        interval = f" [{eer.interval.low:.2%}, {eer.interval.high:.2%}]{mark}" if eer.interval else ""
        return [
            self.model,
            self.parameters_said,
            self.macs_said,
            f"{eer.value:.2%}{interval}".replace("%", " %"),
            f"{cost.value:.3f}",
            self.minutes_said,
        ]


COLUMNS = ("model", "parameters", "MACs of 2 s", "EER [95 % interval over speakers]", "minDCF(0.01)", "minutes")


def rows_of(model_dirs: list[Path], lists: list[str]) -> dict[str, list[Row]]:
    """For each trial list (``set/list``) the rows of all models, in the given order."""
    found: dict[str, list[Row]] = {name: [] for name in lists}
    for folder in model_dirs:
        model = load_model(folder)
        parameters, macs = count_parameters(model), count_macs(model)
        for name in lists:
            evaluation = _evaluation(folder / "metrics" / f"{name}.json")
            row = Row(folder.name, name, parameters, macs, evaluation, _minutes(folder), config_hash(folder))
            found[name].append(row)
    return found


def _evaluation(path: Path) -> Evaluation:
    if not path.is_file():
        raise UserError(f"{path}: not there: run stage 6 first (./run.sh --stage 6)")
    try:
        return Evaluation.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged: run stage 6 again (--stage 6 --force true)") from error


def _minutes(folder: Path) -> float | None:
    path = folder / "log" / "seconds"
    return float(path.read_text(encoding="utf-8")) / 60 if path.is_file() else None


def config_hash(folder: Path) -> str:
    """First 12 digits of the SHA-256 over the model's resolved configurations."""
    digest = hashlib.sha256()
    for name in ("model.yaml", "config.yaml", "method.yaml"):
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()[:12]
