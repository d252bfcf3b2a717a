"""Which utterances of a set to take, and how to cut a set into parts: the rules of Kaldi's subset and split scripts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from imlkd.corpora.kaldi_dir import group_by_speaker
from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines

T = TypeVar("T")
_LISTED = 5
RULES = ("spread", "first", "last", "shortest", "per-speaker", "speakers")


def choose(
    utt2spk: Mapping[str, str], number: int, rule: str, seconds: Mapping[str, float] | None = None, seed: int = 1
) -> list[str]:
    """``number`` utterances in the order of ``utt2spk``.

    :param rule: spread evenly over the set; the first, last or shortest ones; per-speaker: as many of each, all of one
        who has fewer; speakers: whole speakers, drawn, until there are as many.
    :param seconds: lengths, for shortest.
    :raises UserError: when there are fewer, or the lengths are not known.
    """
    utterances = list(utt2spk)
    if rule != "per-speaker" and number > len(utterances):
        raise UserError(f"{number} utterances asked for, there are {len(utterances)}: ask for less")
    if rule == "spread":
        chosen = spread(utterances, number)
    elif rule in ("first", "last"):
        chosen = utterances[:number] if rule == "first" else utterances[-number:]
    elif rule == "per-speaker":
        chosen = [one for own in group_by_speaker(utt2spk).values() for one in spread(own, number)]
    elif rule == "shortest":
        lacking = [one for one in utterances if one not in (seconds or {})]
        if seconds is None or lacking:
            raise UserError(f"the length of {(lacking or utterances)[0]} is not known: add utt2dur")
        lengths = seconds
        chosen = sorted(utterances, key=lambda one: (lengths[one], one.encode()))[:number]
    else:
        chosen = _whole_speakers(utt2spk, number, seed)
    wanted = set(chosen)
    return [one for one in utterances if one in wanted]


def spread(items: Sequence[T], number: int) -> list[T]:
    """``number`` items, evenly spread; all when there are no more."""
    if number >= len(items):
        return list(items)
    return [items[index * len(items) // number] for index in range(number)]


def _whole_speakers(utt2spk: Mapping[str, str], number: int, seed: int) -> list[str]:
    grouped = group_by_speaker(utt2spk)
    speakers = list(grouped)
    random.Random(seed).shuffle(speakers)
    chosen: list[str] = []
    for speaker in speakers:
        if len(chosen) >= number:
            break
        chosen += grouped[speaker]
    return chosen


def listed(utt2spk: Mapping[str, str], path: Path, by_speaker: bool) -> tuple[list[str], list[str]]:
    """The utterances whose id, or speaker, stands first in a line of ``path``; and the ids that nothing has.

    :raises UserError: when the list names none of the set.
    """
    wanted = dict.fromkeys(fields[0] for _, line in read_lines(path) if (fields := line.split()))
    known = set(utt2spk.values()) if by_speaker else set(utt2spk)
    chosen = [one for one, speaker in utt2spk.items() if (speaker if by_speaker else one) in wanted]
    unknown = [one for one in wanted if one not in known]
    if not chosen:
        noun = "speakers" if by_speaker else "utterances"
        first = ", ".join(unknown[:_LISTED]) or "it is empty"
        raise UserError(f"{path}: none of its ids is among the {noun} of the set: {first}: mend the list")
    return chosen, unknown


def parts(utt2spk: Mapping[str, str], count: int, by_utterance: bool = False) -> list[list[str]]:
    """Contiguous parts of about equal size; a speaker stays in one unless ``by_utterance``.

    :raises UserError: for more parts than there are speakers, or utterances.
    """
    if by_utterance:
        utterances = list(utt2spk)
        _refuse_more(count, len(utterances), "utterances")
        numbers = [index * count // len(utterances) for index in range(len(utterances))]
        return [[one for one, part in zip(utterances, numbers, strict=True) if part == k] for k in range(count)]
    grouped = list(group_by_speaker(utt2spk).values())
    _refuse_more(count, len(grouped), "speakers")
    ends = [0, *_run_ends([len(own) for own in grouped], count)]
    return [[one for own in grouped[first:end] for one in own] for first, end in zip(ends, ends[1:], strict=False)]


def _refuse_more(count: int, there_are: int, noun: str) -> None:
    if count > there_are:
        raise UserError(f"{count} parts of {there_are} {noun}: ask for {there_are} at most")


def _run_ends(sizes: Sequence[int], count: int) -> list[int]:
    """Cut ``sizes`` into ``count`` runs of at least one, each end as near to its even share as it can be."""
    total, end, taken, ends = sum(sizes), 0, 0, []
    for part in range(1, count):
        share, latest = total * part / count, len(sizes) - (count - part)
        taken, end = taken + sizes[end], end + 1
        while end < latest and abs(taken + sizes[end] - share) <= abs(taken - share):
            taken, end = taken + sizes[end], end + 1
        ends.append(end)
    return [*ends, len(sizes)]
