"""Whether speakers of a test set were trained on, by the teacher or by a student."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines

_LISTED = 5
NOT_CHECKED = "teacher overlap not checked"


def read_speakers(path: Path) -> list[str]:
    """The first field of every line: a plain list of speakers, or ``spk2utt``; of ``utt2spk`` the second.

    :raises UserError: when there is none.
    """
    column = 1 if path.name.startswith("utt2spk") else 0
    speakers = dict.fromkeys(fields[column] for _, line in read_lines(path) if len(fields := line.split()) > column)
    if not speakers:
        raise UserError(f"{path}: names no speaker: expected one a line")
    return list(speakers)


def refuse_overlap(test: Path, trained_on: Collection[str], who: str) -> None:
    """Refuse a test set (its ``spk2utt``) with speakers that ``who`` was trained on.

    :raises UserError: with how many they share of how many, and the first five.
    """
    tested = read_speakers(test)
    known = set(trained_on)
    shared = [speaker for speaker in tested if speaker in known]
    if shared:
        raise UserError(
            f"{test}: {len(shared)} of {len(tested)} speakers are among the {len(known)} that {who} was trained on "
            f"(first: {', '.join(shared[:_LISTED])}): an error rate of speakers trained on says nothing: leave this "
            "test set out, or take a model that has not seen them"
        )


def check_teacher(speakers: Path | None, tests: Sequence[Path], who: str, say: Callable[[str], object]) -> None:
    """``refuse_overlap`` with every test set (its ``spk2utt``); without a list of speakers says that nothing is known.

    :param speakers: see ``read_speakers``; None: not known.
    """
    if speakers is None:
        say(f"{NOT_CHECKED}: whom {who} was trained on is not known (--teacher-speakers FILE)")
        return
    trained_on = read_speakers(speakers)
    for test in tests:
        refuse_overlap(test, trained_on, who)
