"""A study as a page: its tables, the gap closed by each row, and DET curves, in one file beside RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from imlkd.reporting.page.charts import det_chart, gap_chart
from imlkd.reporting.page.document import write_page
from imlkd.reporting.page.scored import Gap
from imlkd.reporting.page.tables import Cell, Table, number, share
from imlkd.scoring.compare import gap_closed
from imlkd.scoring.metrics import Floats
from imlkd.study.analysis import MEAN, Analysis, Paired, cautions
from imlkd.study.measure import FULL, conditions_of
from imlkd.study.plan import StudyConfig, rows_of
from imlkd.study.results import StudentResults, StudyResults

PAGE = "report/index.html"
TEACHER = "teacher"


@dataclass(frozen=True)
class StudentPart:
    """What a page says of one student.

    :param differences: by condition, the reference less each other row.
    """

    name: str
    rates: Table
    gaps: Markup | None
    det: Markup
    differences: dict[str, Table]


def write_study_page(found: StudyResults) -> Path:
    """Write ``report/index.html`` into the folder of the results."""
    config, page = found.config, found.folder / PAGE
    order = [TEACHER, *(row.label for row in rows_of(config, found.path))]
    parts = [
        _part(config, student, own, [row for row in order if row in own.analysis.records])
        for student, own in found.students.items()
        if own.analysis.records
    ]
    facts = [
        ("study", str(found.path)),
        ("runs", f"{found.done} of {found.total}"),
        ("code", ", ".join(sorted({f"git {record.git}" for record in found.records if record.git})) or "not known"),
    ]
    write_page(
        page, "study.html", name=found.path.stem, parts=parts, facts=facts, reference=config.reference,
        baseline=config.baseline, text=found.path.read_text(encoding="utf-8"),
    )  # fmt: skip
    return page


def _part(config: StudyConfig, student: str, own: StudentResults, rows: list[str]) -> StudentPart:
    analysis = own.analysis
    gaps = _gaps(config, analysis, rows)
    closed = [gap for gap in gaps if gap.closed is not None]
    return StudentPart(
        student,
        _rates(config, analysis, rows, gaps),
        gap_chart(student, closed) if closed else None,
        det_chart(student, {row: pooled(analysis, row) for row in rows}, config.reference),
        {condition: _differences(found) for condition, found in own.differences.items() if found},
    )


def _rates(config: StudyConfig, analysis: Analysis, rows: list[str], gaps: list[Gap]) -> Table:
    """EER in percent, mean over folds and seeds, by condition; minDCF of whole utterances."""
    conditions, closed = conditions_of(config.cuts), {gap.model: gap.closed for gap in gaps}
    cells = []
    for row in rows:
        line = [Cell(row), Cell(str(len(analysis.records[row])), len(analysis.records[row]))]
        for condition in conditions:
            cell = analysis.cell(row, condition, MEAN)
            spread = f" ± {100 * cell.spread:.2f}" if cell and cell.spread is not None else ""
            line.append(Cell(f"{100 * cell.mean:.2f} %{spread}", cell.mean) if cell else Cell("-"))
        cost = analysis.cell(row, FULL, MEAN, measure=1)
        line += [number(cost.mean, ".3f") if cost else Cell("-"), share(closed[row]) if row in closed else Cell("")]
        cells.append(line)
    columns = ["row", "seeds", *(f"EER, {name}" for name in conditions), "minDCF(0.01)", "gap closed"]
    return Table(columns, cells, "Mean over folds and seeds, ± deviation over seeds.")


def _gaps(config: StudyConfig, analysis: Analysis, rows: list[str]) -> list[Gap]:
    means = {row: cell.mean for row in rows if (cell := analysis.cell(row, FULL, MEAN))}
    if config.baseline not in means or TEACHER not in means:
        return []
    baseline, teacher = means[config.baseline], means[TEACHER]
    others = [row for row in means if row not in (config.baseline, TEACHER)]
    return [Gap(row, gap_closed(baseline, means[row], teacher), None) for row in others]


def _differences(found: Sequence[Paired]) -> Table:
    rows = [
        [
            Cell(one.row), Cell(f"{100 * one.relative:+.1f} %", one.relative),
            Cell(f"{100 * one.interval.low:+.1f} % to {100 * one.interval.high:+.1f} %", one.interval.low),
            number(one.p_holm, ".3f"), Cell(f"{100 * one.detectable:.1f} %", one.detectable),
        ]
        for one in found
    ]  # fmt: skip
    return Table(["row", "difference", "95 %", "p (Holm)", "detectable"], rows, cautions(found))


def pooled(analysis: Analysis, row: str) -> tuple[Floats, Floats]:
    """Target and nontarget scores of whole utterances of all folds, first seed."""
    own = analysis.records[row][min(analysis.records[row])]
    both: tuple[list[Floats], list[Floats]] = ([], [])
    for place, fold in analysis.folds.items():
        scores = own[place].score(FULL)
        both[0].append(scores[fold.trials.is_target])
        both[1].append(scores[~fold.trials.is_target])
    return np.concatenate(both[0]), np.concatenate(both[1])
