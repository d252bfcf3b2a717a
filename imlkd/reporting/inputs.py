"""What stage 7 reads of a run, for its done markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imlkd.corpora.sets import RecipeSets
from imlkd.errors import UserError
from imlkd.training.curve import EXPECTED, LOG

RESULTS = ("final.pt", "model.yaml", "config.yaml", "log/seconds")
PAGE = (*RESULTS, "method.yaml", LOG, EXPECTED, "export/export.json")
CONFIG = "config.yaml"  # of the targets: how stage 3 explained


def targets_config(teacher: Path, sets: RecipeSets) -> Path:
    """How the teacher was explained; not there when it was not."""
    return teacher / f"targets_{sets.train}" / CONFIG


def results_inputs(models: Sequence[Path], sets: RecipeSets) -> list[Path]:
    """Files behind the result table.

    :raises UserError: where stage 6 has not run.
    """
    return [*_there(models, RESULTS), *_scored(models, sets)]


def page_inputs(models: Sequence[Path], sets: RecipeSets, data: Path, teacher_scored: bool = True) -> list[Path]:
    """Files behind the pages, audio left out.

    :param models: the teacher first.
    :param teacher_scored: False where it is a table of embeddings that lacks the test sets.
    :raises UserError: where stage 6 has not run.
    """
    config = targets_config(models[0], sets)
    return [
        *_there(models, PAGE),
        *_scored(models if teacher_scored else models[1:], sets),
        *(data / name for name in sets.lists),
        *([config] if config.is_file() else []),
    ]


def _there(models: Sequence[Path], names: Sequence[str]) -> list[Path]:
    return [folder / name for folder in models for name in names if (folder / name).is_file()]


def _scored(models: Sequence[Path], sets: RecipeSets) -> list[Path]:
    found = [
        folder / part
        for folder in models
        for name in sets.lists
        for part in (f"scores/{name}", f"metrics/{name}.json")
    ]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path}: not there: run stage 6 first (./run.sh --stage 6)")
    return found
