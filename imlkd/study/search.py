"""Settings of a row that are tried, and which of them each fold gets: those that are best on the other folds.

A fold's students are never measured on what chose their settings, and each method gets as many tries as the study's
file grants it. Tries may be shorter than the runs (``tries_set``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imlkd.study.analysis import MEAN, Analysis
from imlkd.study.folds import Fold, read_fold
from imlkd.study.measure import FULL
from imlkd.study.plan import Run, StudyConfig, row_with, runs_of, shared_settings, students_of, tries_of
from imlkd.study.record import Record, read_records

SEED = 1  # of every try


def try_runs(config: StudyConfig, path: Path) -> list[Run]:
    """A run of every try, on every fold and student."""
    short = config.tries_set.split()
    return [
        Run(
            replace(row_with(row, short, path), label=f"{label}.t{number}"), student, fold, SEED,
            shared_settings(config, row.method),
        )
        for label, rows in tries_of(config, path).items()
        for number, row in enumerate(rows)
        for fold in range(1, config.folds + 1)
        for student in students_of(config, path)
    ]  # fmt: skip


def row_of(run: Run) -> str:
    """Label of the row that a run belongs to, be it a try of it."""
    label, tried, number = run.row.label.rpartition(".t")
    return label if tried and number.isdigit() else run.row.label


def planned(config: StudyConfig, path: Path, results: Path, folds: Sequence[int] = ()) -> list[Run]:
    """Every run whose settings are known: tries first, then the rows without any and those whose tries have all run.

    :param folds: of the runs, as for ``runs_of``; what is trained on all speakers has the settings best on all folds.
    """
    tried = try_runs(config, path)
    tries, finished = tries_of(config, path), _finished(tried, results)
    held = [read_fold(results, number) for number in range(1, config.folds + 1)] if finished else []
    found = list(tried)
    for run in runs_of(config, path, folds):
        row, own = run.row, finished.get((run.row.label, run.student.label))
        if own is not None:
            row = tries[row.label][best_elsewhere(held, own, run.fold, run.student.label)]
        if own is not None or row.label not in tries:
            found.append(replace(run, row=replace(row, label=run.row.label)))
    return found


def _finished(tried: Sequence[Run], results: Path) -> dict[tuple[str, str], list[list[Record]]]:
    """By label and student the records of each try, where all of them have run."""
    records = {record.name: record for record in read_records(results / "runs")} if tried else {}
    found: dict[tuple[str, str], dict[str, list[Record | None]]] = {}
    for run in tried:
        record = records.get(run.name)
        is_current = record is not None and record.settings == run.settings()
        tries = found.setdefault((row_of(run), run.student.label), {})
        tries.setdefault(run.row.label, []).append(record if is_current else None)
    return {
        place: [[one for one in own if one is not None] for own in tries.values()]
        for place, tries in found.items()
        if all(one is not None for own in tries.values() for one in own)
    }


def best_elsewhere(folds: Sequence[Fold], tries: Sequence[Sequence[Record]], fold: int, student: str) -> int:
    """Which of ``tries`` has the lowest mean error rate on the folds other than ``fold`` (0: on all); first of equals.

    :param tries: a try's records, one a fold.
    """
    others = [one for one in folds if one.number != fold]
    rates = []
    for records in tries:
        kept = [record for record in records if record.fold != fold]
        analysis = Analysis.of(others, kept, student, 1)
        row = records[0].row
        cell = analysis.cell(row, FULL, MEAN) or analysis.cell(row, FULL)  # a corpus may be too small for so few folds
        assert cell is not None
        rates.append(cell.mean)
    return rates.index(min(rates))
