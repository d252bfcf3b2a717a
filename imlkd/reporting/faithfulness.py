"""A test of maps as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from imlkd.attribution.areas import Gap, Result
from imlkd.attribution.faithfulness import Measured
from imlkd.attribution.faithfulness_run import Report
from imlkd.reporting.table import text_table


def faithfulness_text(report: Report) -> str:
    """Areas of every duration, mode and measure, and the differences between orders with their intervals."""
    parts = [_duration(report, one) for one in report.measured]
    note = (
        "areas under the curves over the share of units inserted or deleted; top1, top5 and eer in %, cosines times"
        f" 100; [95 % intervals over speakers, {report.about['draws']} draws]; + the map is better, - worse"
    )
    return "\n\n".join([*parts, note])


def _duration(report: Report, measured: Measured) -> str:
    trials = f", {len(measured.trials)} trials" if measured.trials else ""
    head = (
        f"{measured.seconds:g} s: {len(measured.utterances)} utterances of {report.speakers(measured)} speakers,"
        f" {report.about['class_count']} classes ({report.about['classes']}){trials}"
    )
    results = [result for result in report.results if result.seconds == measured.seconds]
    return "\n".join([head, *_maps(measured), text_table(_header(measured), _rows(measured, results))])


def _maps(measured: Measured) -> list[str]:
    """Completeness and agreement of each map."""
    lines = []
    for row, name in enumerate(measured.orders[: measured.maps]):
        others = [
            f"{other} {correlation:.2f}"
            for other, correlation in zip(measured.orders, measured.agreement[row], strict=True)
            if other != name
        ]
        lines.append(f"{name}: {measured.completeness[name].line()}; rank correlation with {', '.join(others)}")
    return lines


def _header(measured: Measured) -> list[str]:
    return ["", "order", "area", *(f"minus {name}" for name in _rivals(measured))]


def _rivals(measured: Measured) -> list[str]:
    """What each map is compared with: the controls and, where there are several, the first map."""
    first = [measured.orders[0]] if measured.maps > 1 else []
    return [*measured.orders[measured.maps :], *first]


def _rows(measured: Measured, results: Sequence[Result]) -> list[list[str]]:
    rows = []
    for result in results:
        for order in measured.orders:
            gaps = result.gaps.get(order, {})
            cells = [_gap(gaps[rival]) if rival in gaps else "" for rival in _rivals(measured)]
            title = f"{result.mode} {result.measure}" if order == measured.orders[0] else ""
            rows.append([title, order, f"{100 * result.areas[order]:.1f}", *cells])
    return rows


def _gap(gap: Gap) -> str:
    mark = {True: "+", False: "-", None: " "}[gap.better]
    return f"{100 * gap.difference:.1f} [{100 * gap.interval.low:.1f}, {100 * gap.interval.high:.1f}] {mark}"
