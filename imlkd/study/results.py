"""What has run of a study, measured once for all its tables and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imlkd.study.analysis import Analysis, Paired
from imlkd.study.folds import read_fold
from imlkd.study.measure import conditions_of
from imlkd.study.plan import Run, StudyConfig, rows_of, runs_of, students_of
from imlkd.study.record import Record, read_records
from imlkd.study.search import planned, try_runs


@dataclass(frozen=True)
class StudentResults:
    """One student.

    :param differences: by condition, the reference less each other row.
    """

    analysis: Analysis
    differences: Mapping[str, Sequence[Paired]]

    @classmethod
    def of(cls, config: StudyConfig, analysis: Analysis) -> StudentResults:
        """Draw speakers and seeds for every condition."""
        conditions = conditions_of(config.cuts)
        return cls(analysis, {condition: analysis.compare(config.reference, condition) for condition in conditions})


@dataclass(frozen=True)
class StudyResults:
    """A study so far.

    :param path: of its file; ``folder``: that the results lie in.
    :param records: all that are there; ``plan``: the runs whose settings are known.
    :param done: runs that have a record; ``total``: of the whole study.
    :param students: by label, in the order of the file.
    """

    config: StudyConfig
    path: Path
    folder: Path
    records: Sequence[Record]
    plan: Sequence[Run]
    done: int
    total: int
    students: Mapping[str, StudentResults]


def read_results(config: StudyConfig, path: Path, folder: Path) -> StudyResults:
    """Measure the records below ``folder``; those of other settings, of tries, or of no run of the study don't count.

    :param path: of the study's file.
    """
    records, plan = read_records(folder / "runs"), planned(config, path, folder)
    wanted = {run.name: run for run in plan}
    done = {record.name for record in records if has_run(record, wanted)}
    labels = {"teacher", *(row.label for row in rows_of(config, path))}
    kept = [one for one in records if one.row in labels and (one.row == "teacher" or one.name in done)]
    folds = [read_fold(folder, number) for number in range(1, config.folds + 1)]
    students = {
        one.label: StudentResults.of(config, Analysis.of(folds, kept, one.label, config.draws))
        for one in students_of(config, path)
    }
    total = len(runs_of(config, path)) + len(try_runs(config, path))
    return StudyResults(config, path, folder, records, plan, len(done), total, students)


def has_run(record: Record, wanted: Mapping[str, Run]) -> bool:
    """Whether a record is of one of these runs, with the settings that it has now."""
    return record.name in wanted and wanted[record.name].settings() == record.settings
