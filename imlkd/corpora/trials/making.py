"""Trials out of a data directory: same gender, same corpus, across recordings first, every speaker as often as others.

Targets: each speaker's utterances go round in a drawn order, every utterance with the next, then with the one after
next, and so on; pairs of two recordings are taken first, and pairs of one only when these do not suffice.
Nontargets: the speakers of one gender and corpus stand in a drawn circle, and each enrols against the next, the one
after next, and so on; so each is tested as often as it enrols. Utterances of both sides go round evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table, sort_ids

Pair = tuple[str, str]
_LISTED = 5


@dataclass(frozen=True)
class Voices:
    """Who speaks in which utterance, and what decides which trials are fair.

    :param recording: of each utterance, or empty: each is a recording of its own.
    :param gender: of each speaker, or empty: not looked at; ``corpus``: likewise.
    """

    utterances: dict[str, list[str]]
    recording: dict[str, str] = field(default_factory=dict)
    gender: dict[str, str] = field(default_factory=dict)
    corpus: dict[str, str] = field(default_factory=dict)

    def groups(self) -> dict[tuple[str, str], list[str]]:
        """Speakers by gender and corpus, both sorted."""
        found: dict[tuple[str, str], list[str]] = {}
        for speaker in sort_ids(self.utterances):
            found.setdefault((self.gender.get(speaker, ""), self.corpus.get(speaker, "")), []).append(speaker)
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Made:
    """The trials, and what was done, a line each."""

    trials: Trials
    said: list[str]


def read_voices(
    data: Path, utt2rec: Path | None = None, spk2gender: Path | None = None, utt2corpus: Path | None = None
) -> Voices:
    """Read a data directory; tables that are not named are looked for in it.

    :param utt2rec: recording of each utterance; default: ``utt2rec``, else the second column of ``segments``.
    :param spk2gender: default: ``spk2gender``; ``utt2corpus``: default: ``utt2corpus``; both may be missing there.
    :raises UserError: for a table that lacks an utterance or a speaker, or a speaker in two corpora.
    """
    utt2spk = read_table(data / "utt2spk", fields=2)
    utterances: dict[str, list[str]] = {}
    for utterance, speaker in utt2spk.items():
        utterances.setdefault(speaker, []).append(utterance)
    recording = _table(utt2rec or data / "utt2rec", utt2spk, needed=utt2rec is not None)
    if not recording and (data / "segments").is_file():
        recording = {utterance: rest.split()[0] for utterance, rest in read_table(data / "segments", fields=4).items()}
    gender = _table(spk2gender or data / "spk2gender", utterances, needed=spk2gender is not None)
    corpora = _table(utt2corpus or data / "utt2corpus", utt2spk, needed=utt2corpus is not None)
    corpus: dict[str, str] = {}
    for utterance, name in corpora.items():
        speaker = utt2spk[utterance]
        if corpus.setdefault(speaker, name) != name:
            raise UserError(
                f"{utt2corpus or data / 'utt2corpus'}: {speaker} is in {corpus[speaker]} and in {name}: a speaker has "
                "one corpus"
            )
    return Voices(utterances, recording, gender, corpus)


def make_trials(voices: Voices, targets: int, nontargets: int, seed: int, path: Path) -> Made:
    """Draw up to so many trials of each kind a speaker; the same seed gives the same list.

    :param path: where the list is to be written, for messages.
    :raises UserError: when there is not one trial of each kind.
    """
    generator = np.random.default_rng(seed)
    drawn = {speaker: _shuffled(voices.utterances[speaker], generator) for speaker in sort_ids(voices.utterances)}
    of_targets = {speaker: _targets(names, voices.recording, targets) for speaker, names in drawn.items()}
    of_nontargets: dict[str, list[Pair]] = {}
    for group in voices.groups().values():
        of_nontargets |= _nontargets(_shuffled(group, generator), drawn, nontargets)
    rows = sorted(
        (*pair, same)
        for same, pairs in ((True, of_targets), (False, of_nontargets))
        for one in pairs.values()
        for pair in one
    )
    is_target = np.array([row[2] for row in rows], dtype=np.bool_)
    if is_target.all() or not is_target.any():
        raise UserError(
            f"{path}: these {len(drawn)} speakers give {int(is_target.sum())} target and {int((~is_target).sum())} "
            "nontarget trials: both kinds need utterances of at least two speakers of one gender and corpus"
        )
    trials = Trials(path, "kaldi", [row[0] for row in rows], [row[1] for row in rows], is_target)
    return Made(trials, _said(voices, trials, of_targets, of_nontargets, targets, nontargets, seed))


def _table(path: Path, names: Mapping[str, object], needed: bool) -> dict[str, str]:
    if not needed and not path.is_file():
        return {}
    table = read_table(path, fields=2)
    missing = [name for name in names if name not in table]
    if missing:
        raise UserError(f"{path}: {len(missing)} of {len(names)} ids are not in it, first: {missing[0]}: add them")
    return {name: table[name] for name in names}


def _shuffled(names: list[str], generator: np.random.Generator) -> list[str]:
    return [sort_ids(names)[i] for i in generator.permutation(len(names))]


def _targets(names: list[str], recording: Mapping[str, str], wanted: int) -> list[Pair]:
    across = islice((pair for pair in _round(names) if _recordings(pair, recording) == 2), wanted)
    taken = list(across)
    within = (pair for pair in _round(names) if _recordings(pair, recording) == 1)
    return taken + list(islice(within, wanted - len(taken)))


def _recordings(pair: Pair, recording: Mapping[str, str]) -> int:
    return len({recording.get(name, name) for name in pair})


def _round(names: list[str]) -> Iterator[Pair]:
    """All pairs of different names, each once in one order, all names evenly used."""
    count = len(names)
    for distance in range(1, count // 2 + 1):
        for place in range(count if 2 * distance < count else count // 2):
            yield names[place], names[(place + distance) % count]


def _nontargets(circle: list[str], drawn: Mapping[str, list[str]], wanted: int) -> dict[str, list[Pair]]:
    """Of each speaker of one group; no pair of utterances twice, in either order."""
    pairs: dict[str, list[Pair]] = {speaker: [] for speaker in circle}
    count = len(circle)
    if count < 2:
        return pairs
    used: set[frozenset[str]] = set()
    turns = Counter[str]()  # how often a speaker's utterances have been taken
    for turn in range(wanted):
        distance = 1 + turn % (count - 1)
        for place, speaker in enumerate(circle):
            other = circle[(place + distance) % count]
            pair = _unused(drawn[speaker], drawn[other], turns[speaker], turns[other], used)
            if pair is not None:
                used.add(frozenset(pair))
                turns.update((speaker, other))
                pairs[speaker].append(pair)
    return pairs


def _unused(mine: list[str], theirs: list[str], first: int, second: int, used: set[frozenset[str]]) -> Pair | None:
    """The first pair that is not used yet, beginning at the two places; None when all are."""
    for one in range(len(mine)):
        for other in range(len(theirs)):
            pair = mine[(first + one) % len(mine)], theirs[(second + other) % len(theirs)]
            if frozenset(pair) not in used:
                return pair
    return None


def _said(
    voices: Voices,
    trials: Trials,
    of_targets: Mapping[str, list[Pair]],
    of_nontargets: Mapping[str, list[Pair]],
    targets: int,
    nontargets: int,
    seed: int,
) -> list[str]:
    across = sum(_recordings(pair, voices.recording) == 2 for pairs in of_targets.values() for pair in pairs)
    total = int(trials.is_target.sum())
    told = "" if voices.recording else " (no utt2rec or segments: each utterance counts as a recording)"
    same = [name for name, table in (("gender", voices.gender), ("corpus", voices.corpus)) if table]
    unknown = [name for name in ("gender", "corpus") if name not in same]
    matched = f"same {' and '.join(same)}" if same else "any two speakers"
    lines = [
        f"{trials.path}: {total} target and {len(trials) - total} nontarget trials of {len(of_targets)} speakers, "
        f"seed {seed}",
        f"targets: {_spread(of_targets, targets)}; {across} across recordings, {total - across} within one{told}",
        f"nontargets: {_spread(of_nontargets, nontargets)}; {matched}"
        + (f" ({' and '.join(unknown)} unknown: not looked at)" if unknown else ""),
    ]
    for kind, pairs in (("target", of_targets), ("nontarget", of_nontargets)):
        if none := [speaker for speaker, one in pairs.items() if not one]:
            lines.append(f"without {kind} trials: {len(none)} speakers, first: {', '.join(none[:_LISTED])}")
    return lines


def _spread(pairs: Mapping[str, list[Pair]], wanted: int) -> str:
    counts = [len(one) for one in pairs.values()]
    return f"{wanted} wanted a speaker, {min(counts)} to {max(counts)} found"
