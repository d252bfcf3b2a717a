"""How trial lists are written: five layouts, told apart by the first line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imlkd.errors import UserError

LAYOUTS = {
    "kaldi": "<enroll> <test> target|nontarget",
    "voxceleb": "1|0 <enroll> <test>",
    "speechbrain": "<enroll> <test> 1|0, and perhaps a score, as in its scores.txt",
    "nist": "a header with modelid, segmentid and targettype, then columns between tabs or spaces",
    "csv": "a header such as enroll,test,label, then columns between commas, semicolons or tabs",
}
WORDS = {"target": True, "nontarget": False}
DIGITS = {"1": True, "0": False}
_IN_TABLES = {**WORDS, **DIGITS, "true": True, "false": False}
_COLUMNS = {
    "enroll": ("enroll", "enrol", "enrollment", "enrolment", "enroll_id", "enrol_id", "model", "modelid", "model_id"),
    "test": ("test", "test_id", "segment", "segmentid", "segment_id"),
    "label": ("label", "target", "targettype", "key", "is_target"),
}


@dataclass(frozen=True)
class Layout:
    """Which column holds what.

    :param name: a key of ``LAYOUTS``.
    :param width: columns of each line.
    :param labels: what a label may be, lower case in tables with a header.
    :param delimiter: between columns; None: any white space.
    :param header: how many lines stand before the first trial, 0 or 1.
    """

    name: str
    enroll: int
    test: int
    label: int
    width: int
    labels: dict[str, bool]
    delimiter: str | None = None
    header: int = 0

    def splitter(self) -> Callable[[str], list[str]]:
        """What cuts a line into its columns."""
        if self.delimiter is None:
            return str.split
        delimiter = self.delimiter
        return lambda line: _cells(line, delimiter)


_KALDI = Layout("kaldi", 0, 1, 2, 3, WORDS)
_VOXCELEB = Layout("voxceleb", 1, 2, 0, 3, DIGITS)


def recognise(path: Path, head: list[str]) -> Layout:
    """Tell the layout of a list from its first lines.

    The first line decides, but where both its outer columns could be a label: there all of ``head`` are looked at.

    :raises UserError: when the first line fits no layout.
    """
    table = _with_header(path, head[0])
    if table is not None:
        return table
    fields = head[0].split()
    if len(fields) == 4 and fields[2] in DIGITS and _is_number(fields[3]):
        return Layout("speechbrain", 0, 1, 2, 4, DIGITS)
    if len(fields) == 1 and any(mark in head[0] for mark in ",;"):
        raise UserError(
            f"{path}:1: no header with columns for enrolment, test and label: begin the file with enroll,test,label"
        )
    if len(fields) == 3 and fields[2] not in WORDS:
        rows = [row for line in head if len(row := line.split()) == 3]
        if all(row[0] in DIGITS for row in rows):
            return _VOXCELEB
        if fields[2] in DIGITS:
            return Layout("speechbrain", 0, 1, 2, 3, DIGITS)
        return _VOXCELEB if fields[0] in DIGITS else _KALDI
    return _KALDI


def as_lines(layout: str, enroll: Iterable[str], test: Iterable[str], is_target: Iterable[bool]) -> Iterator[str]:
    """Lines of a list in ``layout``, header included.

    :raises ValueError: for an unknown layout.
    """
    rows = zip(enroll, test, is_target, strict=True)
    if layout == "kaldi":
        yield from (f"{one} {other} {'target' if same else 'nontarget'}\n" for one, other, same in rows)
    elif layout == "voxceleb":
        yield from (f"{int(same)} {one} {other}\n" for one, other, same in rows)
    elif layout == "speechbrain":
        yield from (f"{one} {other} {int(same)}\n" for one, other, same in rows)
    elif layout == "nist":
        yield "modelid\tsegmentid\tside\ttargettype\n"
        yield from (f"{one}\t{other}\ta\t{'target' if same else 'nontarget'}\n" for one, other, same in rows)
    elif layout == "csv":
        yield "enroll,test,label\n"
        yield from (f"{_cell(one)},{_cell(other)},{'target' if same else 'nontarget'}\n" for one, other, same in rows)
    else:
        raise ValueError(f"{layout!r} is no layout: expected one of {', '.join(LAYOUTS)}")


def _with_header(path: Path, line: str) -> Layout | None:
    """The layout of a table, when its first line names a column for each side."""
    delimiter = next((mark for mark in "\t;," if mark in line), None)
    names = [name.strip().lower() for name in (line.split() if delimiter is None else _cells(line, delimiter))]
    places = {kind: [i for i, name in enumerate(names) if name in known] for kind, known in _COLUMNS.items()}
    if not places["enroll"] or not places["test"]:
        return None
    if not places["label"]:
        raise UserError(
            f"{path}:1: no column with the label, as targettype or label: take the key of the list, which has one"
        )
    for kind, found in places.items():
        if len(found) > 1:
            raise UserError(f"{path}:1: two columns for {kind}, {names[found[0]]} and {names[found[1]]}: rename one")
    nist = {"modelid", "segmentid"} <= set(names) and delimiter in (None, "\t")
    enroll, test, label = (places[kind][0] for kind in ("enroll", "test", "label"))
    return Layout("nist" if nist else "csv", enroll, test, label, len(names), _IN_TABLES, delimiter, header=1)


def _cells(line: str, delimiter: str) -> list[str]:
    """Columns of a line, outer white space taken off, and quotes where commas or semicolons stand between them."""
    if '"' not in line or delimiter == "\t":
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        return []  # as many as no layout has


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',;"') else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
