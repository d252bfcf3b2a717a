"""Which prepared sets a recipe works on: written by stage 0, read by all later ones."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.files import atomic_write_text


@dataclass(frozen=True)
class RecipeSets:
    """Names of folders below the data folder.

    :param train: the student's training set.
    :param teacher: the set a teacher of one's own is trained on; may be the same.
    :param tests: test sets.
    :param lists: trial lists as ``set/list``.
    """

    train: str
    teacher: str
    tests: list[str]
    lists: list[str]


def write_sets(sets: RecipeSets, path: Path | str) -> None:
    """Write as YAML."""
    atomic_write_text(path, yaml.safe_dump(asdict(sets), sort_keys=False))


def read_sets(path: Path | str) -> RecipeSets:
    """Read what stage 0 wrote; UserError when it has not run or the file is damaged."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: not there: run stage 0 first (./run.sh --stage 0)")
    try:
        return load_config(RecipeSets, path)
    except UserError as error:
        raise UserError(f"{error}: run stage 0 again (--stage 0 --force true)") from error


def to_shell(sets: RecipeSets) -> str:
    """Assignments for a script: train_set, teacher_set, test_sets, lists."""
    values = {
        "train_set": sets.train,
        "teacher_set": sets.teacher,
        "test_sets": " ".join(sets.tests),
        "lists": " ".join(sets.lists),
    }
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
