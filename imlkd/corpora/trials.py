"""Trial lists: which enrolment is compared with which test utterance, and whether the speaker is the same."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.corpora.id_mapping import likely_mapping
from imlkd.errors import UserError
from imlkd.files import atomic_open
from imlkd.kaldi_io import read_lines

LAYOUTS = {"kaldi": "<enroll> <test> target|nontarget", "voxceleb": "1|0 <enroll> <test>"}
_LABELS = {
    "kaldi": {"target": True, "nontarget": False},
    "voxceleb": {"1": True, "0": False},
}


@dataclass(frozen=True)
class Trials:
    """A trial list in the order of its file; line ``i + 1`` of ``path`` is trial ``i``.

    :param layout: a key of ``LAYOUTS``: how the file was written.
    :param is_target: (number of trials,), True where both sides are the same speaker.
    """

    path: Path
    layout: str
    enroll: list[str]
    test: list[str]
    is_target: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.enroll)

    def pairs(self) -> list[tuple[str, str]]:
        """(enrolment id, test id) of each trial."""
        return list(zip(self.enroll, self.test, strict=True))

    def place(self, index: int) -> str:
        """``file:line`` of a trial, for messages."""
        return f"{self.path}:{index + 1}"


def read_trials(path: Path | str) -> Trials:
    """Read a trial list in Kaldi's or VoxCeleb's layout (told from the first line).

    :raises UserError: naming file and line, for a wrong number of columns, an unknown label, a repeated pair, CRLF
        line ends or bytes that are not UTF-8; naming the file, when it is empty or lacks targets or nontargets.
    """
    path = Path(path)
    # One list a column, not one a line: half a million small lists would keep the garbage collector busy.
    first, second, third = list[str](), list[str](), list[str]()
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: expected 3 columns ({LAYOUTS['kaldi']}), found {len(fields)}")
        first.append(fields[0])
        second.append(fields[1])
        third.append(fields[2])
    if not first:
        raise UserError(f"{path}: empty trial list: expected lines '{LAYOUTS['kaldi']}'")
    layout = _layout(first[0], third[0])
    labels, enroll, test = (third, first, second) if layout == "kaldi" else (first, second, third)
    trials = Trials(path, layout, enroll, test, _parse_labels(path, layout, labels))
    _refuse_repeated_pairs(trials)
    _refuse_one_class(trials)
    return trials


def write_trials(path: Path | str, trials: Trials) -> None:
    """Write ``trials`` in Kaldi's layout, atomically."""
    with atomic_open(path) as stream:
        stream.writelines(
            f"{enroll} {test} {'target' if is_target else 'nontarget'}\n"
            for enroll, test, is_target in zip(trials.enroll, trials.test, trials.is_target.tolist(), strict=True)
        )


def join_check(
    trials: Trials, enroll_ids: Collection[str], test_ids: Collection[str] | None = None, source: str = "the embeddings"
) -> None:
    """Make sure that every id of ``trials`` exists, before anything is scored.

    :param test_ids: None when both sides are looked up in ``enroll_ids``.
    :param source: what the ids are looked up in, for the message.
    :raises UserError: with how many ids of each side are missing, the first five, and a hint at the likely mapping.
    """
    known_enroll = set(enroll_ids)
    known_test = known_enroll if test_ids is None else set(test_ids)
    enroll, test = dict.fromkeys(trials.enroll), dict.fromkeys(trials.test)
    missing_enroll = [name for name in enroll if name not in known_enroll]
    missing_test = [name for name in test if name not in known_test]
    missing = list(dict.fromkeys(missing_enroll + missing_test))
    if not missing:
        return
    available = known_enroll if missing_enroll else known_test
    raise UserError(
        f"{trials.path}: {len(missing_enroll)} of {len(enroll)} enrolment ids and {len(missing_test)} of {len(test)} "
        f"test ids are not in {source}; first: {', '.join(missing[:5])}; "
        f"{likely_mapping(missing_enroll or missing_test, available)}"
    )


def _layout(first: str, third: str) -> str:
    """Tell the layout from the outer columns of the first line."""
    return "voxceleb" if first in _LABELS["voxceleb"] and third not in _LABELS["kaldi"] else "kaldi"


def _parse_labels(path: Path, layout: str, labels: list[str]) -> npt.NDArray[np.bool_]:
    known = _LABELS[layout]
    if unknown := set(labels) - set(known):
        number, label = next((i, label) for i, label in enumerate(labels, start=1) if label in unknown)
        raise UserError(
            f"{path}:{number}: label {label!r} is none of {', '.join(known)}: each line reads '{LAYOUTS[layout]}'"
        )
    return np.array([known[label] for label in labels], dtype=np.bool_)


def _refuse_repeated_pairs(trials: Trials) -> None:
    pairs = trials.pairs()
    if len(set(pairs)) == len(pairs):
        return
    seen: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(pairs):
        if pair in seen:
            conflict = trials.is_target[index] != trials.is_target[seen[pair]]
            raise UserError(
                f"{trials.place(index)}: {pair[0]} {pair[1]} is already on line {seen[pair] + 1}"
                f"{' with the other label' if conflict else ''}: keep one of the two"
            )
        seen[pair] = index


def _refuse_one_class(trials: Trials) -> None:
    targets = int(trials.is_target.sum())
    if targets in (0, len(trials)):
        only, other = ("targets", "nontarget") if targets else ("nontargets", "target")
        raise UserError(
            f"{trials.path}: a list with only {only} ({len(trials)} trials) has no error rate: add {other} trials"
        )
