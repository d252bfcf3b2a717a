"""A study as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imlkd.scoring.compare import gap_closed
from imlkd.study.analysis import ALL, MEAN, RECORDINGS, Analysis, Cell, Paired, cautions
from imlkd.study.maps import maps_table
from imlkd.study.measure import FULL, conditions_of
from imlkd.study.plan import Run, StudyConfig, rows_of, tries_of
from imlkd.study.record import Record
from imlkd.study.results import StudentResults, StudyResults


def markdown(found: StudyResults) -> str:
    """All tables of a study, with how much of it has run."""
    lines = [f"# Study {found.path.stem}", ""]
    head = f"{found.done} of {found.total} runs; {found.config.folds} folds."
    lines += [f"{head} A row is here once a seed of it has run on every fold."]
    lines += _settings(found.config, found.path, found.plan)
    last = {record.row: record for record in found.records}
    for student, results in found.students.items():
        lines += ["", f"## Student {student}", "", *student_tables(found.config, found.path, results, last)]
        lines += ["", *maps_table(found.config, student, found.folder)]
    return "\n".join(lines).rstrip() + "\n"


def student_tables(
    config: StudyConfig, path: Path, results: StudentResults, last: Mapping[str, Record]
) -> Iterator[str]:
    """Error rates of a student's rows, and their differences in each condition.

    :param last: a record of each row, for its size and minutes.
    """
    order = ["teacher", *(row.label for row in rows_of(config, path))]
    present = [row for row in order if row in results.analysis.records]
    if not present:
        yield "Nothing has run on every fold yet."
        return
    yield from _rates(config, results.analysis, present, last)
    for condition, differences in results.differences.items():
        if differences:
            yield ""
            yield from _differences(config, condition, differences)


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


def _differences(config: StudyConfig, condition: str, found: Sequence[Paired]) -> Iterator[str]:
    yield (
        f"{config.reference} less each row, relative EER, {condition}: 95 % interval over speakers and seeds, p after"
        f" Holm; what is detectable with 80 % power. {cautions(found)}".rstrip()
    )
    yield ""
    yield "| row | difference | interval | p (Holm) | detectable |"
    yield "|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one.row} | {100 * one.relative:+.1f} % | {100 * one.interval.low:+.1f} % to"
            f" {100 * one.interval.high:+.1f} % | {one.p_holm:.3f} | {100 * one.detectable:.1f} % |"
        )


def as_json(found: StudyResults) -> dict[str, Any]:
    """The same as plain values: by student, ``rates`` of each row and condition, and ``differences`` by condition."""
    return {
        student: {
            "rates": {
                row: {
                    condition: {"mean": cell.mean, "seeds": cell.values}
                    for condition in results.differences
                    if (cell := results.analysis.cell(row, condition, MEAN))
                }
                for row in results.analysis.records
            },
            "differences": {
                condition: [_plain(one) for one in differences]
                for condition, differences in results.differences.items()
            },
        }
        for student, results in found.students.items()
    }


def _plain(one: Paired) -> dict[str, Any]:
    return {
        "row": one.row, "relative": one.relative, "low": one.interval.low, "high": one.interval.high, "p": one.p,
        "p_holm": one.p_holm, "detectable": one.detectable, "least_p": one.least_p,
        "few_speakers": one.few_speakers,
    }  # fmt: skip
