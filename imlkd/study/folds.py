"""Speaker-disjoint folds of a training set: who is held out when, and the trials that measure it.

Every speaker is held out once. Speakers of one corpus and gender are dealt out in a drawn order, one fold after the
other, so each fold has its share of each; within them it is by numbers of utterances that folds come out alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imlkd.corpora.audio import resolve_sources
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, write_data_dir
from imlkd.corpora.trials.lists import Trials, read_trials, write_trials
from imlkd.corpora.trials.making import Voices, make_trials, read_voices
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir
from imlkd.kaldi_io import read_table

TABLES = ("utt2spk", "utt2rec", "utt2corpus")


@dataclass(frozen=True)
class Fold:
    """The held-out part of one fold.

    :param recording: of each utterance; empty where it is not known.
    :param corpus: of each utterance.
    """

    number: int
    trials: Trials
    speaker: dict[str, str]
    recording: dict[str, str]
    corpus: dict[str, str]


def deal(voices: Voices, folds: int, seed: int) -> list[list[str]]:
    """Speakers of each fold.

    :raises UserError: when a fold would hold fewer than two speakers.
    """
    generator = np.random.default_rng(seed)
    held: list[list[str]] = [[] for _ in range(folds)]
    turn = 0
    for group in voices.groups().values():
        drawn = [group[i] for i in generator.permutation(len(group))]
        for speaker in sorted(drawn, key=lambda name: -len(voices.utterances[name])):
            held[turn % folds].append(speaker)
            turn += 1
    if min(map(len, held)) < 2:
        raise UserError(f"{folds} folds of {turn} speakers: each needs two at least: take fewer folds")
    return [sorted(one) for one in held]


def write_folds(data: Path, out: Path, folds: int, targets: int, nontargets: int, seed: int) -> list[str]:
    """Write ``fold.N.trials`` and the tables of its utterances, so that results can be read without the audio.

    :param data: Kaldi data directory; a speaker's corpus is what ``utt2corpus`` says, else the id before the first
        ``-`` where speakers differ in it.
    :returns: a line on each fold.
    """
    voices = voices_of(data)
    make_dir(out)
    said = []
    for number, held in enumerate(deal(voices, folds, seed), start=1):
        own = restricted(voices, held)
        path = out / f"fold.{number}.trials"
        made = make_trials(own, targets, nontargets, seed, path)
        write_trials(path, made.trials)
        _write_tables(own, out, number)
        said.append(f"fold {number}: {len(held)} speakers held out; {made.said[0].partition(': ')[2]}")
    return said


def write_test(data: Path, trials: Path, out: Path) -> None:
    """Write a test set and its list as number 0: no fold, but measured like one."""
    make_dir(out)
    atomic_write_text(out / "fold.0.trials", trials.read_text(encoding="utf-8"))
    _write_tables(voices_of(data), out, 0)


def _write_tables(own: Voices, out: Path, number: int) -> None:
    speaker = {name: one for one, names in own.utterances.items() for name in names}
    tables = {
        "utt2spk": speaker,
        "utt2rec": {name: own.recording.get(name, name) for name in speaker},
        "utt2corpus": {name: own.corpus.get(one, "all") for name, one in speaker.items()},
    }
    for table, content in tables.items():
        lines = (f"{name} {content[name]}\n" for name in sorted(content, key=str.encode))
        atomic_write_text(out / f"fold.{number}.{table}", "".join(lines))


def voices_of(data: Path) -> Voices:
    """As ``imlkd trials make`` reads them, with the corpus taken from the ids where no table names it."""
    voices = read_voices(data)
    if voices.corpus:
        return voices
    first = {speaker: speaker.partition("-")[0] for speaker in voices.utterances if "-" in speaker}
    named = len(first) == len(voices.utterances) and 1 < len(set(first.values())) < len(first)
    return Voices(voices.utterances, voices.recording, voices.gender, first if named else {})


def restricted(voices: Voices, speakers: list[str]) -> Voices:
    """To some speakers."""

    def own(table: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in table.items() if name in speakers}

    utterances = {speaker: voices.utterances[speaker] for speaker in speakers}
    recording = {name: voices.recording[name] for names in utterances.values() for name in names if voices.recording}
    return Voices(utterances, recording, own(voices.gender), own(voices.corpus))


def write_part(data: DataDir, speakers: set[str], out: Path) -> None:
    """Write the utterances of some speakers as a data directory of its own; audio is found from anywhere."""
    sources = resolve_sources(data, allow_pipes=True).by_recording
    kept = [name for name, speaker in data.utt2spk.items() if speaker in speakers]
    recordings = {data.recording(name) for name in kept}

    def own(table: dict[str, str] | None, ids: Collection[str]) -> dict[str, str] | None:
        return None if table is None else {name: table[name] for name in table if name in ids}

    utt2spk = {name: data.utt2spk[name] for name in kept}
    part = DataDir(
        path=out,
        wav={name: sources[name].wav_scp for name in data.wav if name in recordings},
        segments=None if data.segments is None else {name: data.segments[name] for name in kept},
        utt2spk=utt2spk,
        spk2utt=group_by_speaker(utt2spk),
        spk2gender=own(data.spk2gender, speakers),
        utt2dur=own(data.utt2dur, utt2spk),
    )
    write_data_dir(part, out)


def read_fold(folder: Path, number: int) -> Fold:
    """What ``write_folds`` left of a fold."""
    speaker, recording, corpus = (read_table(folder / f"fold.{number}.{table}", fields=2) for table in TABLES)
    return Fold(number, read_trials(folder / f"fold.{number}.trials"), speaker, recording, corpus)
