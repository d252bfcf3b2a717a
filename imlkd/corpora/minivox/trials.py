"""Trials of the built-in test set: targets across recordings, nontargets of the same gender."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from imlkd.corpora.minivox.draws import Draws
from imlkd.corpora.minivox.voices import Utterance
from imlkd.errors import UserError

Pair = tuple[Utterance, Utterance]


def draw_trials(utterances: list[Utterance], nontargets: int, draws: Draws) -> list[str]:
    """Lines ``enroll test target|nontarget``, sorted.

    Targets are all pairs of one speaker out of two recordings. A speaker enrols in ``nontargets`` times as many
    nontarget trials, against each other speaker of the same gender in turn, with different sentences, so that the
    text tells nothing. No pair comes twice, in either order.

    :raises UserError: when there are too few such pairs.
    """
    voices: dict[str, list[Utterance]] = {}
    for item in utterances:
        voices.setdefault(item.speaker, []).append(item)
    used: set[frozenset[str]] = set()
    lines = []
    for speaker, mine in voices.items():
        targets = [(a, b) for a, b in combinations(mine, 2) if a.recording != b.recording]
        others = [theirs for name, theirs in voices.items() if name != speaker and theirs[0].gender == mine[0].gender]
        walks = [_walk(draws.shuffled(mine), draws.shuffled(theirs)) for theirs in draws.shuffled(others)]
        wanted = nontargets * len(targets)
        pairs = _take_in_turn(walks, wanted, used)
        if len(pairs) < wanted:
            raise UserError(f"nontargets: {nontargets}: too many for so few test voices: raise test_voices or lower it")
        lines += [f"{a.name} {b.name} target" for a, b in targets]
        lines += [f"{a.name} {b.name} nontarget" for a, b in pairs]
    return sorted(lines)


def _walk(mine: list[Utterance], theirs: list[Utterance]) -> Iterator[Pair]:
    """All pairs of the two lists, each once, using the items of both evenly."""
    for offset in range(len(theirs)):
        for index, item in enumerate(mine):
            yield item, theirs[(index + offset) % len(theirs)]


def _take_in_turn(walks: list[Iterator[Pair]], wanted: int, used: set[frozenset[str]]) -> list[Pair]:
    """The next fitting pair of each walk, round and round, until there are ``wanted`` or none is left."""
    taken: list[Pair] = []
    while walks and len(taken) < wanted:
        walk = walks.pop(0)
        for a, b in walk:
            key = frozenset((a.name, b.name))
            if a.sentence != b.sentence and key not in used:
                used.add(key)
                taken.append((a, b))
                walks.append(walk)
                break
    return taken
