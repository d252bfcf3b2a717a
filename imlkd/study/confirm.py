"""The end of a study: rows trained on all training speakers, measured on test lists on which nothing was chosen.

A list is touched once for each row. Started again, what lacks is made; a row whose settings have changed since it was
measured is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir
from imlkd.study.analysis import Analysis
from imlkd.study.execute import Places, make_targets, record_run, record_teacher, run_all, write_training_part
from imlkd.study.folds import read_fold, write_test
from imlkd.study.plan import Run, StudyConfig, rows_of, students_of
from imlkd.study.record import read_records
from imlkd.study.results import StudentResults
from imlkd.study.search import planned
from imlkd.study.table import student_tables

ALL_SPEAKERS = 0  # in the place of a fold


def confirm(
    config: StudyConfig, places: Places, tests: Mapping[Path, Path], labels: Sequence[str], jobs: int
) -> list[Path]:
    """Train what lacks, then score it on every list; returns the folders with a RESULTS.md each.

    :param tests: data directory -> its list; their names become those of the folders in ``results/confirm``.
    :raises UserError: for rows that the study lacks or whose tries have not run, for a row that was measured with other
        settings, and for a test speaker among the training speakers.
    """
    runs = final_runs(config, places, labels)
    sets = {test: replace(places, results=places.results / "confirm" / test.name) for test in tests}
    if len({own.results for own in sets.values()}) < len(sets):
        raise UserError(f"--test: two directories are called {next(iter(tests)).name}: give each a name of its own")
    for own in sets.values():
        _check_untouched(own, runs)
    _prepare(config, places, tests, jobs)
    run_all(places, runs, jobs)
    return [_measured(config, own, test, tests[test], runs) for test, own in sets.items()]


def final_runs(config: StudyConfig, places: Places, labels: Sequence[str]) -> list[Run]:
    """The runs of these rows on all speakers, with the settings that were best on the folds."""
    known = {row.label for row in rows_of(config, places.file)}
    found = [run for run in planned(config, places.file, places.results, [ALL_SPEAKERS]) if run.fold == ALL_SPEAKERS]
    for label in labels:
        if label not in known:
            raise UserError(f"{places.file}: has no row {label}: the rows are {', '.join(sorted(known))}")
        if all(run.row.label != label for run in found):
            raise UserError(f"{places.file}: row {label} has tries that have not run: run the study first")
    return [run for run in found if run.row.label in labels]


def _check_untouched(own: Places, runs: Sequence[Run]) -> None:
    wanted = {run.name: run.settings() for run in runs}
    for record in read_records(own.records):
        if record.name in wanted and record.settings != wanted[record.name]:
            raise UserError(
                f"{own.records}/{record.name}.json: {record.row} was measured here with other settings, at"
                f" {record.git}: a test list is touched once for each row; call the changed one by another label"
            )


def _prepare(config: StudyConfig, places: Places, tests: Mapping[Path, Path], jobs: int) -> None:
    data, folder = read_data_dir(places.data), places.fold(ALL_SPEAKERS)
    for test in tests:
        if shared := sorted(set(read_data_dir(test).spk2utt) & set(data.spk2utt)):
            raise UserError(f"{test}: {len(shared)} of its speakers are in {places.data} too, {shared[0]} first")
    make_dir(folder)
    write_training_part(config, data, set(data.spk2utt), folder / "train")
    make_targets(config, folder, tests, jobs)


def _measured(config: StudyConfig, own: Places, test: Path, trials: Path, runs: Sequence[Run]) -> Path:
    """Scores of every run that lacks them, and the tables."""
    write_test(test, trials, own.results)
    make_dir(own.records)
    if not (own.records / f"teacher.f{ALL_SPEAKERS}.json").is_file():
        record_teacher(config, own, ALL_SPEAKERS, test.name)
    for run in runs:
        if not (own.records / f"{run.name}.json").is_file():
            record_run(config, own, run, test.name).write(own.records / f"{run.name}.json")
    lines = [f"# {own.file.stem} on {test.name}", "", "Trained on all training speakers."]
    records = read_records(own.records)
    for student in students_of(config, own.file):
        analysis = Analysis.of([read_fold(own.results, ALL_SPEAKERS)], records, student.label, config.draws)
        last = {record.row: record for record in records}
        tables = student_tables(config, own.file, StudentResults.of(config, analysis), last)
        lines += ["", f"## Student {student.label}", "", *tables]
    atomic_write_text(own.results / "RESULTS.md", "\n".join(lines).rstrip() + "\n")
    return own.results
