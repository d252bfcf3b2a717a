"""A study as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imlkd.scoring.compare import gap_closed
from imlkd.study.analysis import ALL, MEAN, RECORDINGS, Analysis, Cell, Paired
from imlkd.study.folds import read_fold
from imlkd.study.maps import maps_table
from imlkd.study.measure import FULL, conditions_of
from imlkd.study.plan import Run, StudyConfig, rows_of, runs_of, students_of, tries_of
from imlkd.study.record import Record, read_records
from imlkd.study.search import planned, try_runs


def analyses(config: StudyConfig, path: Path, results: Path) -> dict[str, Analysis]:
    """By student; records of other settings, of tries, or of runs that the study no longer has are left out."""
    folds = [read_fold(results, number) for number in range(1, config.folds + 1)]
    labels = {row.label for row in rows_of(config, path)}
    wanted = {run.name: run for run in planned(config, path, results) if run.row.label in labels}
    kept = [one for one in read_records(results / "runs") if one.row == "teacher" or has_run(one, wanted)]
    return {one.label: Analysis.of(folds, kept, one.label, config.draws) for one in students_of(config, path)}


def has_run(record: Record, wanted: Mapping[str, Run]) -> bool:
    """Whether a record is of one of these runs, with the settings that it has now."""
    return record.name in wanted and wanted[record.name].settings() == record.settings


def markdown(config: StudyConfig, path: Path, results: Path) -> str:
    """All tables of a study, with how much of it has run."""
    records = read_records(results / "runs")
    plan = planned(config, path, results)
    done = sum(has_run(record, {run.name: run for run in plan}) for record in records)
    total = len(runs_of(config, path)) + len(try_runs(config, path))
    lines = [f"# Study {path.stem}", ""]
    lines += [f"{done} of {total} runs; {config.folds} folds. A row is here once a seed of it has run on every fold."]
    lines += _settings(config, path, plan)
    last = {record.row: record for record in records}
    for student, analysis in analyses(config, path, results).items():
        lines += ["", f"## Student {student}", "", *student_tables(config, path, analysis, last)]
        lines += ["", *maps_table(config, student, results)]
    return "\n".join(lines).rstrip() + "\n"


def student_tables(config: StudyConfig, path: Path, analysis: Analysis, last: Mapping[str, Record]) -> Iterator[str]:
    """Error rates of a student's rows, and their differences in each condition.

    :param last: a record of each row, for its size and minutes.
    """
    order = ["teacher", *(row.label for row in rows_of(config, path))]
    present = [row for row in order if row in analysis.records]
    if not present:
        yield "Nothing has run on every fold yet."
        return
    yield from _rates(config, analysis, present, last)
    for condition in conditions_of(config.cuts):
        yield ""
        yield from _differences(config, analysis, condition)


def _settings(config: StudyConfig, path: Path, plan: Sequence[Run]) -> Iterator[str]:
    """What the tries of other folds have chosen for each fold."""
    tries = tries_of(config, path)
    chosen = {(run.row.label, run.student.label, run.fold): run.row for run in plan if run.row.label in tries}
    for (label, student, fold), row in sorted(chosen.items()):
        settings = " ".join([*row.student_set, *(f"method.{one}" for one in row.method_set)]) or "as in the file"
        yield from ["", f"{label}, {student}, fold {fold}: {settings}, chosen on the other folds"]


def _rates(
    config: StudyConfig, analysis: Analysis, rows: Sequence[str], records: Mapping[str, Record]
) -> Iterator[str]:
    corpora = analysis.corpora()
    columns: list[tuple[str, tuple[str, str, str]]] = [(FULL, (FULL, MEAN, ALL))]
    columns += [(name, (FULL, name, ALL)) for name in corpora]
    columns += [(f"{kind} recording", (FULL, MEAN, kind)) for kind in RECORDINGS]
    columns += [(condition, (condition, MEAN, ALL)) for condition in conditions_of(config.cuts)[1:]]
    yield "EER in percent: mean over folds and seeds, ± deviation over seeds; without a corpus, the mean over all."
    yield ""
    cost = ["parameters", "minutes", "ms a step", "MB"]
    head = ["row", "seeds", *(name for name, _ in columns), "minDCF(0.01)", "gap closed", *cost]
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    best = {row: analysis.cell(row, FULL, MEAN) for row in rows}
    for row in rows:
        cells = [_cell(analysis.cell(row, *place)) for _, place in columns]
        dcf = analysis.cell(row, FULL, MEAN, measure=1)
        record = records[row]
        yield (
            f"| {row} | {len(analysis.records[row])} | {' | '.join(cells)} | {f'{dcf.mean:.3f}' if dcf else ''}"
            f" | {_gap(best, row, config.baseline)} | {record.parameters / 1000:.0f} k | {record.minutes:.1f}"
            f" | {_number(record.step_ms)} | {_number(record.peak_mb)} |"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{100 * cell.mean:.2f}" + (f" ± {100 * cell.spread:.2f}" if cell.spread is not None else "")


def _gap(best: dict[str, Cell | None], row: str, baseline: str) -> str:
    base, own, teacher = best.get(baseline), best[row], best.get("teacher")
    if row in (baseline, "teacher") or base is None or own is None or teacher is None:
        return ""
    share = gap_closed(base.mean, own.mean, teacher.mean)
    return "no gap" if share is None else f"{100 * share:.0f} %"


def _differences(config: StudyConfig, analysis: Analysis, condition: str) -> Iterator[str]:
    found = analysis.compare(config.reference, condition)
    if not found:
        return
    yield (
        f"{config.reference} less each row, relative EER, {condition}: 95 % interval over speakers and seeds, p after"
        " Holm; what is detectable with 80 % power."
    )
    yield ""
    yield "| row | difference | interval | p (Holm) | detectable |"
    yield "|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one.row} | {100 * one.relative:+.1f} % | {100 * one.interval.low:+.1f} % to"
            f" {100 * one.interval.high:+.1f} % | {one.p_holm:.3f} | {100 * one.detectable:.1f} % |"
        )


def as_json(config: StudyConfig, path: Path, results: Path) -> dict[str, Any]:
    """The same as plain values: by student, ``rates`` of each row and condition, and ``differences`` by condition."""
    return {
        student: {
            "rates": {
                row: {
                    condition: {"mean": cell.mean, "seeds": cell.values}
                    for condition in conditions_of(config.cuts)
                    if (cell := analysis.cell(row, condition, MEAN))
                }
                for row in analysis.records
            },
            "differences": {
                condition: [_plain(one) for one in analysis.compare(config.reference, condition)]
                for condition in conditions_of(config.cuts)
            },
        }
        for student, analysis in analyses(config, path, results).items()
    }


def _plain(one: Paired) -> dict[str, Any]:
    return {
        "row": one.row, "relative": one.relative, "low": one.interval.low, "high": one.interval.high, "p": one.p,
        "p_holm": one.p_holm, "detectable": one.detectable,
    }  # fmt: skip
