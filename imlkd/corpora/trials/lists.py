"""Trial lists: which enrolment is compared with which test utterance, and whether the speaker is the same."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imlkd.corpora.trials.layouts import LAYOUTS, Layout, as_lines, recognise
from imlkd.errors import UserError
from imlkd.files import atomic_open
from imlkd.kaldi_io import read_lines

BLOCK = 16384  # trials at a time
_HEAD = 1000  # lines that may be needed to tell the layout
_MANY = 2**20  # trials from which on equal ids are one object
_CODES = 2**24  # pairs that are looked at for repetitions at a time: bounds the memory


class TrialSource(Protocol):
    """Trials in memory (``Trials``) or on the disk (``TrialList``)."""

    @property
    def path(self) -> Path: ...

    @property
    def layout(self) -> str: ...

    @property
    def enroll(self) -> list[str]:
        """Enrolment ids: all in the order of the trials, or each once."""

    @property
    def test(self) -> list[str]:
        """Test ids, likewise."""

    def __len__(self) -> int: ...

    def blocks(self, size: int = BLOCK, first: int = 0) -> Iterator[Trials]:
        """From trial ``first`` on, ``size`` at a time."""


@dataclass(frozen=True)
class Trials:
    """A trial list, or a part of one, in the order of its file; trial ``i`` is on line ``first_line + i``.

    :param layout: a key of ``LAYOUTS``: how the file was written.
    :param is_target: (number of trials,), True where both sides are the same speaker.
    """

    path: Path
    layout: str
    enroll: list[str]
    test: list[str]
    is_target: npt.NDArray[np.bool_]
    first_line: int = 1

    def __len__(self) -> int:
        return len(self.enroll)

    def pairs(self) -> list[tuple[str, str]]:
        """(enrolment id, test id) of each trial."""
        return list(zip(self.enroll, self.test, strict=True))

    def place(self, index: int) -> str:
        """``file:line`` of a trial, for messages."""
        return f"{self.path}:{self.first_line + index}"

    def blocks(self, size: int = BLOCK, first: int = 0) -> Iterator[Trials]:
        """See ``TrialSource``."""
        for start in range(first, len(self), size):
            part = slice(start, start + size)
            yield Trials(
                self.path, self.layout, self.enroll[part], self.test[part], self.is_target[part],
                self.first_line + start,
            )  # fmt: skip

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Trials:
        """Those where ``mask``, (number of trials,), is True; lines count from the first of them."""
        kept = np.flatnonzero(mask).tolist()
        enroll, test = [self.enroll[i] for i in kept], [self.test[i] for i in kept]
        return Trials(self.path, self.layout, enroll, test, self.is_target[mask], self.first_line)


@dataclass(frozen=True)
class TrialList:
    """A trial list that stays on the disk, looked through once: memory does not grow with the number of trials.

    :param enroll: the distinct enrolment ids in the order of their first trial; ``test``: likewise.
    """

    path: Path
    layout: str
    enroll: list[str]
    test: list[str]
    targets: int
    nontargets: int

    def __len__(self) -> int:
        return self.targets + self.nontargets

    def blocks(self, size: int = BLOCK, first: int = 0) -> Iterator[Trials]:
        """See ``TrialSource``."""
        return _blocks(self.path, size, first)

    def describe(self) -> str:
        """One line: layout and counts."""
        return (
            f"{self.path}: {self.layout} layout, {self.targets} target and {self.nontargets} nontarget trials, "
            f"{len(self.enroll)} enrolment and {len(self.test)} test ids"
        )


def read_trials(path: Path | str) -> Trials:
    """Read a trial list in any of ``LAYOUTS`` (told from the first line).

    :raises UserError: naming file and line, for a wrong number of columns, an unknown label, a repeated pair, CRLF
        line ends or bytes that are not UTF-8; naming the file, when it is empty or lacks targets or nontargets.
    """
    path = Path(path)
    # One list a column, not one a line: half a million small lists would keep the garbage collector busy.
    enroll, test, labels, ids = list[str](), list[str](), list[npt.NDArray[np.bool_]](), dict[str, str]()
    for block in _blocks(path):
        for side, names in ((enroll, block.enroll), (test, block.test)):
            side += names if len(side) < _MANY else map(ids.setdefault, names, names)
        labels.append(block.is_target)
    first_line = block.first_line + len(block) - len(enroll)
    trials = Trials(path, block.layout, enroll, test, np.concatenate(labels), first_line)
    if _has_repeated(np.fromiter(map(hash, zip(enroll, test, strict=True)), np.int64, len(enroll))):
        _refuse_repeated_pairs(trials)
    _refuse_one_class(path, int(trials.is_target.sum()), len(trials))
    return trials


def open_trials(path: Path | str) -> TrialList:
    """Look through a trial list, with all checks of ``read_trials``, and keep the ids alone.

    :raises UserError: as ``read_trials``.
    """
    path = Path(path)
    enroll, test = _numbering(), _numbering()
    codes = array("q")
    total = targets = 0
    for block in _blocks(path):
        sides = _numbers(block.enroll, enroll), _numbers(block.test, test)
        if total < _CODES:
            codes.frombytes(_codes(*sides).tobytes())
        total, targets, layout = total + len(block), targets + int(block.is_target.sum()), block.layout
    repeated = _has_repeated(np.frombuffer(codes, dtype=np.int64))
    del codes
    parts = -(-total // _CODES)
    if repeated or (parts > 1 and _repeated_in_parts(path, enroll, test, parts)):
        _refuse_repeated_pairs(read_trials(path))
    _refuse_one_class(path, targets, total)
    return TrialList(path, layout, list(enroll), list(test), targets, total - targets)


def write_trials(path: Path | str, trials: Trials, layout: str = "kaldi") -> None:
    """Write ``trials`` in one of ``LAYOUTS``, atomically."""
    with atomic_open(path) as stream:
        stream.writelines(as_lines(layout, trials.enroll, trials.test, trials.is_target.tolist()))


def _blocks(path: Path, size: int = BLOCK, first: int = 0) -> Iterator[Trials]:
    """The lines of a file from trial ``first`` on; each is looked at on its own only."""
    lines = read_lines(path)
    head = list(islice(lines, _HEAD))
    if not head:
        raise UserError(f"{path}: empty trial list: expected lines '{LAYOUTS['kaldi']}'")
    layout = recognise(path, [line for _, line in head])
    rest = islice(chain(head, lines), layout.header + first, None)
    number = 1 + layout.header + first
    while block := [line for _, line in islice(rest, size)]:
        yield _parsed(path, layout, block, number)
        number += len(block)
    if len(head) <= layout.header:
        raise UserError(f"{path}: a header and no trial: expected {LAYOUTS[layout.name]}")


def _parsed(path: Path, layout: Layout, lines: list[str], first_line: int) -> Trials:
    enroll, test, labels = list[str](), list[str](), list[str]()
    split, width = layout.splitter(), layout.width
    at_enroll, at_test, at_label = layout.enroll, layout.test, layout.label
    for line in lines:
        fields = split(line)
        if len(fields) != width:
            place = f"{path}:{first_line + len(enroll)}"
            raise UserError(f"{place}: expected {width} columns ({LAYOUTS[layout.name]}), found {len(fields)}")
        enroll.append(fields[at_enroll])
        test.append(fields[at_test])
        labels.append(fields[at_label])
    if layout.header:
        labels = [label.lower() for label in labels]
        _refuse_unusable_ids(path, enroll, test, first_line)
    if unknown := set(labels) - set(layout.labels):
        index, label = next((i, label) for i, label in enumerate(labels) if label in unknown)
        raise UserError(
            f"{path}:{first_line + index}: label {label!r} is none of {', '.join(layout.labels)}: the layout is "
            f"{layout.name}, {LAYOUTS[layout.name]}"
        )
    is_target = np.array([layout.labels[label] for label in labels], dtype=np.bool_)
    return Trials(path, layout.name, enroll, test, is_target, first_line)


def _refuse_unusable_ids(path: Path, enroll: list[str], test: list[str], first_line: int) -> None:
    """Cells of a table may be empty or hold white space, which no score file can."""
    for index, names in enumerate(zip(enroll, test, strict=True)):
        for name in names:
            if len(name.split()) != 1:
                place = f"{path}:{first_line + index}"
                raise UserError(f"{place}: id {name!r} is empty or holds white space: mend the line")


def _numbering() -> defaultdict[str, int]:
    """Numbers names from 0 in the order in which they are asked for."""
    return defaultdict(count().__next__)


def _numbers(names: list[str], known: defaultdict[str, int]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(known.__getitem__, names), np.int64, len(names))


def _codes(enroll: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return enroll << 32 | test


def _has_repeated(codes: npt.NDArray[np.int64]) -> bool:
    """Whether a value comes twice; the order is lost."""
    codes.sort()
    return bool((codes[1:] == codes[:-1]).any())


def _repeated_in_parts(path: Path, enroll: defaultdict[str, int], test: defaultdict[str, int], parts: int) -> bool:
    """Whether a pair comes twice, reading the list once for each part of the pairs."""
    for part in range(parts):
        codes = array("q")
        for block in _blocks(path):
            found = _codes(_numbers(block.enroll, enroll), _numbers(block.test, test))
            codes.frombytes(found[found % parts == part].tobytes())
        if _has_repeated(np.frombuffer(codes, dtype=np.int64)):
            return True
    return False


def _refuse_repeated_pairs(trials: Trials) -> None:
    """UserError for the first pair that was there before."""
    seen: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(zip(trials.enroll, trials.test, strict=True)):
        if pair in seen:
            conflict = trials.is_target[index] != trials.is_target[seen[pair]]
            raise UserError(
                f"{trials.place(index)}: {pair[0]} {pair[1]} is already on line {trials.first_line + seen[pair]}"
                f"{' with the other label' if conflict else ''}: keep one of the two"
            )
        seen[pair] = index


def _refuse_one_class(path: Path, targets: int, total: int) -> None:
    if targets in (0, total):
        only, other = ("targets", "nontarget") if targets else ("nontargets", "target")
        raise UserError(f"{path}: a list with only {only} ({total} trials) has no error rate: add {other} trials")
