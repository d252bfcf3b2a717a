"""The losses that a configuration is expected to run through: kept from a run, drawn beside another one's.

``python -m imlkd.reporting.expected EXP FILE MODEL...`` keeps those of EXP's models; stage 7 looks for
``expected.json`` in the folder of ``--conf``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, os_errors
from imlkd.reporting.results import config_hash

LOG = "log/train.jsonl"
_DIGITS = 5


def read_log(folder: Path) -> list[dict[str, Any]]:
    """An object an epoch; empty for a model that was not trained here.

    :raises UserError: naming the line that is no such object.
    """
    path = folder / LOG
    if not path.is_file():
        return []
    found = []
    with os_errors(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            found.append({**entry, "epoch": int(entry["epoch"]), "loss": float(entry["loss"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: no epoch of a training: train again (--stage 4 --force true)") from error
    return found


def keep(exp: Path, path: Path, names: list[str]) -> None:
    """Write the losses of the models ``names`` in ``exp`` to ``path``.

    :raises UserError: for a model without a log.
    """
    models = {}
    for name in names:
        losses = [round(entry["loss"], _DIGITS) for entry in read_log(exp / name)]
        if not losses:
            raise UserError(f"{exp / name / LOG}: no epochs: name models that were trained here")
        models[name] = {"config": config_hash(exp / name), "loss": losses}
    atomic_write_text(path, json.dumps({"models": models}, indent=1) + "\n")


def expected_loss(path: Path | None, folder: Path) -> tuple[list[float], str]:
    """Of a model, by epoch, and where it comes from; without one an empty list and the reason.

    :raises UserError: for a file that :func:`keep` did not write.
    """
    if path is None or not path.is_file():
        return [], "the configuration holds no expected.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        own = content["models"].get(folder.name)
        if own is None:
            return [], f"{path.name} holds none of this model"
        if own["config"] != config_hash(folder):
            return [], f"{path.name} is of configuration {own['config']}, this model of {config_hash(folder)}"
        return [float(value) for value in own["loss"]], path.name
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged: make it again with python -m imlkd.reporting.expected") from error


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
        print(f"{sys.argv[1]} -> {sys.argv[2]}")
    except UserError as error:
        sys.exit(f"imlkd: error: {error}")
