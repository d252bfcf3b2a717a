"""What a study runs: rows (a method and its settings) x students x folds x seeds, from one YAML file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imlkd.config import bounded, load_config, text
from imlkd.distillation.objective import build_method
from imlkd.errors import UserError
from imlkd.files import parse_yaml

_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]*$")
_OF_METHOD = "method."  # in front of a setting that belongs to METHOD.yaml, not to student.yaml


@dataclass(frozen=True)
class StudyConfig:
    """A study, as its YAML file says.

    A row reads ``LABEL = METHOD [KEY=VALUE ...]``, or just ``METHOD``; keys are those of student.yaml, or with
    ``method.`` in front those of METHOD.yaml. A student reads ``LABEL = KEY=VALUE ...``.
    """

    rows: list[str] = bounded(["none", "kd", "imlkd"], help="LABEL = METHOD [KEY=VALUE ...]")
    students: list[str] = bounded(["small ="], help="LABEL = [KEY=VALUE ...], keys of student.yaml")
    conf: str = text("egs/study/conf", help="folder of features.yaml, teacher.yaml, relevance.yaml, student.yaml")
    teacher: str = text("own", help="as --teacher of run.sh")
    relevance_set: str = text("", help="KEY=VALUE ... of relevance.yaml, for all rows: what is explained, and how")
    speeds: list[float] = bounded([], low=0.5, high=2.0, help="speed copies of the training speakers, as new ones")
    reference: str = text("imlkd", help="row that every other is compared with")
    baseline: str = text("none", help="row from which the gap to the teacher is measured")
    folds: int = bounded(4, low=2, high=50, help="parts of the training speakers; each is held out once")
    seeds: int = bounded(2, low=1, high=100, help="trainings of a row on each fold")
    main: list[str] = bounded(["none"], help="labels of the rows that get more seeds")
    main_seeds: int = bounded(5, low=1, high=100, help="seeds of these")
    targets: int = bounded(20, low=1, help="target trials a held-out speaker")
    nontargets: int = bounded(20, low=1, help="nontarget trials a held-out speaker enrols in")
    tries: list[str] = bounded([], help="LABEL: KEY=VALUE ..., further settings of a row; the best elsewhere is taken")
    tries_set: str = text("", help="KEY=VALUE ... of every try, such as fewer epochs")
    cuts: list[float] = bounded([1.0, 2.0], low=0.2, high=60.0, help="seconds that the test side is also cut to")
    split_seed: int = bounded(0, low=0, help="of the folds and their trials")
    draws: int = bounded(1000, low=20, help="of speakers and seeds, for the intervals")


@dataclass(frozen=True)
class Row:
    """A line of the table: a method, and what it changes in student.yaml and METHOD.yaml."""

    label: str
    method: str
    student_set: tuple[str, ...]
    method_set: tuple[str, ...]


@dataclass(frozen=True)
class Student:
    """A network that every row is trained into."""

    label: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One training and its scores; ``shared`` stands for the settings that all runs of its method have."""

    row: Row
    student: Student
    fold: int
    seed: int
    shared: str = ""

    @property
    def name(self) -> str:
        """Of its record, unique within a study."""
        return f"{self.row.label}.{self.student.label}.f{self.fold}.s{self.seed}"

    def settings(self) -> str:
        """What distinguishes it from a run of the same name in an earlier version of the file."""
        parts = [self.row.method, self.row.student_set, self.row.method_set, self.student.settings, self.shared]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def read_study(path: Path) -> StudyConfig:
    """Read and check a study's YAML.

    :raises UserError: for an unknown key or method, a label given twice, or a label that rows do not have.
    """
    config = load_config(StudyConfig, path)
    rows, students = rows_of(config, path), students_of(config, path)
    labels = [row.label for row in rows]
    for kind, names in (("rows", labels), ("students", [student.label for student in students])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"{path}: {kind}: {twice[0]} is there twice: give each a label of its own")
    for key, wanted in (("reference", [config.reference]), ("baseline", [config.baseline]), ("main", config.main)):
        if lacking := [name for name in wanted if name not in labels]:
            raise UserError(f"{path}: {key}: {lacking[0]} is no row: the rows are {', '.join(labels)}")
    tries_of(config, path)
    return config


def rows_of(config: StudyConfig, path: Path) -> list[Row]:
    """The rows in their order; UserError names the file for one that cannot be read."""
    found = []
    for line in config.rows:
        label, method, settings = _parts(line, path, "rows")
        of_method = tuple(one.removeprefix(_OF_METHOD) for one in settings if one.startswith(_OF_METHOD))
        build_method(method, None, list(of_method))
        found.append(Row(label, method, tuple(one for one in settings if not one.startswith(_OF_METHOD)), of_method))
    return found


def row_with(row: Row, settings: Sequence[str], path: Path) -> Row:
    """A row with further settings, as its line would have them; UserError for one that cannot be."""
    _check_settings(settings, row.label, path, "tries")
    of_method = [one.removeprefix(_OF_METHOD) for one in settings if one.startswith(_OF_METHOD)]
    of_student = [one for one in settings if not one.startswith(_OF_METHOD)]
    found = replace(row, student_set=(*row.student_set, *of_student), method_set=(*row.method_set, *of_method))
    build_method(found.method, None, list(found.method_set))
    return found


def tries_of(config: StudyConfig, path: Path) -> dict[str, list[Row]]:
    """By label the rows that are tried: the row as it is, then each line of ``tries``.

    :raises UserError: for a line that is not ``LABEL: KEY=VALUE ...`` of a row, or whose settings the row refuses.
    """
    rows = {row.label: row for row in rows_of(config, path)}
    found: dict[str, list[Row]] = {}
    for line in config.tries:
        label, separator, words = line.partition(": ")
        if not separator or label not in rows or not words.split():
            raise UserError(f"{path}: tries: {line!r}: expected LABEL: KEY=VALUE ..., of a row: {', '.join(rows)}")
        own = found.setdefault(label, [rows[label]])
        own.append(row_with(rows[label], words.split(), path))
    return found


def students_of(config: StudyConfig, path: Path) -> list[Student]:
    """The students in their order."""
    found = []
    for line in config.students:
        head, _, rest = line.partition(" =")
        label, settings = head.strip(), tuple(rest.split())
        _check_label(label, path, "students")
        _check_settings(settings, line, path, "students")
        found.append(Student(label, settings))
    return found


def _parts(line: str, path: Path, key: str) -> tuple[str, str, list[str]]:
    head, separator, rest = line.partition(" = ")
    words = (rest if separator else line).split()
    if not words:
        raise UserError(f"{path}: {key}: {line!r}: expected LABEL = METHOD [KEY=VALUE ...]")
    label = head.strip() if separator else words[0]
    _check_label(label, path, key)
    _check_settings(words[1:], line, path, key)
    return label, words[0], words[1:]


def _check_settings(words: Sequence[str], line: str, path: Path, key: str) -> None:
    if wrong := [word for word in words if "=" not in word]:
        raise UserError(f"{path}: {key}: {line!r}: {wrong[0]!r} is no KEY=VALUE")


def _check_label(label: str, path: Path, key: str) -> None:
    if not _NAME.match(label.replace("+", "-")):
        raise UserError(f"{path}: {key}: {label!r}: a label has small letters, digits, and . _ - + between them")


def runs_of(config: StudyConfig, path: Path, folds: Sequence[int] = ()) -> list[Run]:
    """Every run, first seeds first, and of these the rows in ``main``: a half-done study compares evenly.

    :param folds: by number, default all; 0 is no fold but all training speakers.
    """
    rows, students = rows_of(config, path), students_of(config, path)
    shared = {row.method: shared_settings(config, row.method) for row in rows}
    parts = [[row for row in rows if (row.label in config.main) is main] for main in (True, False)]
    return [
        Run(row, student, fold, seed, shared[row.method])
        for seed in range(1, max(config.seeds, config.main_seeds) + 1)
        for part in parts
        for fold in folds or range(1, config.folds + 1)
        for student in students
        for row in part
        if seed <= (config.main_seeds if row.label in config.main else config.seeds)
    ]


def shared_settings(config: StudyConfig, method: str) -> str:
    """Teacher, speed copies and the keys of the YAML files that a run of ``method`` reads, as JSON; comments are free.

    :raises UserError: for a file of ``conf`` that is no YAML.
    """
    names = ["features", "teacher" if config.teacher == "own" else "head", "relevance", "student", method]
    keys = {name: _keys(path) for name in names if (path := Path(config.conf) / f"{name}.yaml").is_file()}
    of_maps = [config.relevance_set] if config.relevance_set else []
    return json.dumps([config.teacher, config.speeds, keys, *of_maps], sort_keys=True)


def _keys(path: Path) -> object:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is no YAML: {error}: mend the file") from error
