"""The three-column score file: written as the scores come, taken up after a kill, read back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from imlkd.corpora.trials.lists import Trials, TrialSource
from imlkd.errors import UserError
from imlkd.files import atomic_open, atomic_write_text, make_dir, os_errors, parse_json, sha256_file
from imlkd.kaldi_io import read_lines
from imlkd.progress import Progress
from imlkd.scoring.metrics import Floats

ID_MAP = "--id-map auto takes it"
_MANY = 1_000_000  # trials from which on the progress is shown
_CHUNK = 2**22  # bytes


class Scores(Protocol):
    """What scores trials a block at a time."""

    def block(self, trials: Trials) -> Floats:
        """Scores, (number of trials,)."""

    def finish(self) -> None:
        """After the last block: UserError when the scores together make no sense."""

    def digest(self) -> str:
        """Of all that decides the scores beside the trials."""


def write_scores(path: Path | str, trials: Trials, scores: npt.ArrayLike) -> None:
    """Write ``<enroll> <test> <score>`` in trial order, atomically; seven significant digits (all that float32 has)."""
    with atomic_open(path) as stream:
        stream.writelines(_lines(trials, np.asarray(scores, dtype=np.float64)))


def write_as_they_come(
    path: Path | str, trials: TrialSource, scorer: Scores, say: Callable[[str], object] = lambda line: None
) -> None:
    """Write the score file a block at a time into ``.<name>.partial`` beside it, which is renamed at the end.

    What a killed run has left there is taken up when it was made of the same trials and embeddings in the same way.

    :param say: receives a line when it is.
    :raises UserError: when another process writes the same file, and what the scorer refuses; then nothing is left.
    """
    path = Path(path)
    make_dir(path.parent)
    partial, note = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.partial.json")
    made_from = _made_from(trials, scorer)
    with os_errors(path), _locked(partial, path) as stream:
        done = _resumed(stream, note, made_from)
        if done:
            say(f"{path}: {done} of {len(trials)} scores are there already: going on behind them")
        else:
            atomic_write_text(note, json.dumps({"sha256": made_from}) + "\n")
        try:
            _write(stream, trials, scorer, done)
            scorer.finish()
        except UserError:
            partial.unlink()
            note.unlink()
            raise
        os.fsync(stream.fileno())
        os.replace(partial, path)
        note.unlink(missing_ok=True)


def read_scores(path: Path | str, trials: Trials) -> Floats:
    """Read a score file in any order; returns the scores in the order of ``trials``.

    :raises UserError: naming file and line: not three columns, no finite number, a pair that is no trial, two values
        for one pair; or how many trials have no score, and the first of them.
    """
    path = Path(path)
    scores = np.full(len(trials), np.nan)
    index: dict[tuple[str, str], int] = {}
    expected = zip(trials.enroll, trials.test, strict=True)
    for next_place, (number, line) in enumerate(read_lines(path)):
        fields = line.split()
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: expected 3 columns (<enroll> <test> <score>), {_describe(fields)}")
        pair = (fields[0], fields[1])
        place: int | None = next_place
        if index or next(expected, None) != pair:  # the file is in another order than the list
            index = index or {one: i for i, one in enumerate(trials.pairs())}
            place = index.get(pair)
        if place is None:
            raise UserError(f"{path}:{number}: {pair[0]} {pair[1]} is no trial of {trials.path}: is it its list?")
        value = _parse_score(fields[2], f"{path}:{number}")
        if value != scores[place] and not math.isnan(scores[place]):
            raise UserError(f"{path}:{number}: {pair[0]} {pair[1]} already has another score: score the list again")
        scores[place] = value
    _refuse_missing(path, trials, scores)
    return scores


def _made_from(trials: TrialSource, scorer: Scores) -> str:
    return hashlib.sha256(f"{sha256_file(trials.path)} {scorer.digest()}".encode()).hexdigest()


@contextlib.contextmanager
def _locked(partial: Path, path: Path) -> Iterator[IO[bytes]]:
    """Open for appending, as the only process."""
    with open(partial, "ab+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = os.path.samestat(os.fstat(stream.fileno()), os.stat(partial))  # not renamed in between
        except (BlockingIOError, FileNotFoundError):
            alone = False
        if not alone:
            raise UserError(f"{path}: another process is writing it: wait for that one, or end it")
        yield stream


def _resumed(stream: IO[bytes], note: Path, made_from: str) -> int:
    """How many scores can be kept; all else is cut off."""
    try:
        same = parse_json(note.read_text(encoding="utf-8"))["sha256"] == made_from
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    lines = end = position = 0
    stream.seek(0)
    while same and (chunk := stream.read(_CHUNK)):
        lines += chunk.count(b"\n")
        last = chunk.rfind(b"\n")
        end = position + last + 1 if last >= 0 else end
        position += len(chunk)
    stream.truncate(end)
    stream.seek(end)
    return lines


def _write(stream: IO[bytes], trials: TrialSource, scorer: Scores, done: int) -> None:
    progress: Any = Progress("scores", len(trials)) if len(trials) >= _MANY else contextlib.nullcontext()
    with progress:
        if len(trials) >= _MANY:
            progress.update(done)
        for block in trials.blocks(first=done):
            stream.write("".join(_lines(block, scorer.block(block))).encode())
            stream.flush()
            if len(trials) >= _MANY:
                progress.update(len(block))


def _lines(trials: Trials, scores: Floats) -> Iterator[str]:
    values = (scores + 0.0).tolist()  # adding zero turns -0 into 0
    for enroll, test, value in zip(trials.enroll, trials.test, values, strict=True):
        yield f"{enroll} {test} {value:.7g}\n"


def _parse_score(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{place}: {text!r} is no number: expected <enroll> <test> <score>") from None
    if not math.isfinite(value):
        raise UserError(f"{place}: score is {text}: look at the embeddings of this pair")
    return value


def _describe(fields: list[str]) -> str:
    """What stands in a line of another width; a column of labels is named, with the way to cut it out."""
    if len(fields) == 4:
        for name, place, others in (("fourth", 3, "1,2,3"), ("third", 2, "1,2,4"), ("first", 0, "2,3,4")):
            if fields[place] in ("target", "nontarget", "0", "1"):
                return f"found 4, the {name} a label {fields[place]!r}: cut it out (`cut -d' ' -f{others}`)"
    return f"found {len(fields)}"


def _refuse_missing(path: Path, trials: Trials, scores: Floats) -> None:
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        i = int(missing[0])
        raise UserError(
            f"{path}: {len(missing)} of {len(trials)} trials have no score; first: {trials.enroll[i]} "
            f"{trials.test[i]} ({trials.place(i)}): score the list again"
        )
