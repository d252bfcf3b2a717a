"""Why two sets of ids do not meet: the one spelling rule that would join most of them, and a map by it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from imlkd.kaldi_io import read_table

_EXTENSION = re.compile(r"\.(wav|flac|m4a|mp3|ogg|opus|sph|aac)$", re.IGNORECASE)
_SEPARATOR = re.compile(r"[/\\_]|-{2,}")
_SAMPLE = 1000  # missing ids that rules are tried on
_PROBES = 5  # ids that are compared with all others in search of a prefix or suffix
_SHORTEST = 4  # characters an id must have to be looked for inside others

Spelling = Callable[[str], str]
Value = TypeVar("Value")


class _Rule(NamedTuple):
    """A missing and an available id belong together when these two spellings of them are equal."""

    name: str
    spell_missing: Spelling
    spell_available: Spelling
    one_to_one: bool = True


def likely_mapping(missing: Collection[str], available: Collection[str], option: str = "") -> str:
    """One clause for a message: the rule that maps most ``missing`` ids to ``available`` ones, with an example.

    Tried are file extensions, separators (VoxCeleb's ``id10270/x6uYqmx31kE/00001.wav`` against Kaldi's
    ``id10270-x6uYqmx31kE-00001``), folders, letter case, a speaker in front, and a prefix or suffix of one side.

    :param option: of the command, that takes the mapping; named where the mapping joins all.
    """
    if not available:
        return "there are no ids at all on the other side"
    sample = list(missing)[:_SAMPLE]
    rule, pairs = _best_rule(sample, available, (*_SAME_PARTS, *_affix_rules(sample, available), *_OTHER_PARTS))
    if rule is None:
        return f"no other spelling of them is there (its ids: {min(available)} ...): extract them; or another set?"
    one, other = pairs[0]
    hint = f"likely mapping ({rule.name}; joins {len(pairs)} of {len(sample)} looked at): {one} -> {other}"
    return f"{hint}: {option}" if option and rule.one_to_one and len(pairs) == len(sample) else hint


class IdMap:
    """``--id-map``: under which other spelling the ids of a trial list are looked up.

    :param choice: None: none; ``auto``: a rule that joins all of those that are missing, and never one that takes a
        speaker for an utterance; else a file ``<id of the list> <id elsewhere>``.
    :param say: receives a line for each table in which ids were found under another spelling.
    :raises UserError: for a file that cannot be read, or that gives one id twice.
    """

    def __init__(self, choice: str | None = None, say: Callable[[str], object] = lambda line: None) -> None:
        self.automatic, self.say = choice == "auto", say
        self.known = {} if choice is None or self.automatic else read_table(Path(choice), 2, sorted_ids=False)

    def extend(self, table: Mapping[str, Value], ids: Iterable[str], source: str) -> dict[str, Value]:
        """``table`` with an entry for each of ``ids`` that it has under the other spelling; ids it has stay.

        :param source: where the table was read, for what is said.
        """
        missing = [name for name in dict.fromkeys(ids) if name not in table]
        found = {name: self.known[name] for name in missing if self.known.get(name) in table}
        rule = "the file of --id-map"
        if self.automatic and missing and table:
            rule, found = _by_rule(missing, table)
        if found:
            one = next(iter(found))
            self.say(f"{source}: {len(found)} ids mapped ({rule}): {one} -> {found[one]}")
        return {**table, **{name: table[other] for name, other in found.items()}}


def _by_rule(missing: list[str], available: Collection[str]) -> tuple[str, dict[str, str]]:
    """The best rule's name and what it makes of the ``missing`` ids; nothing when it does not join them all."""
    sample = missing[:_SAMPLE]
    rules = (*_SAME_PARTS, *_affix_rules(sample, available), *_OTHER_PARTS)
    rule, _ = _best_rule(sample, available, (rule for rule in rules if rule.one_to_one))
    found = dict(_join(rule, missing, available)) if rule else {}
    certain = len(found) == len(missing) and (len(found) > 1 or rule in _SAME_PARTS)  # one id proves no affix
    return (rule.name, found) if rule and certain else ("", {})


def _best_rule(
    sample: list[str], available: Collection[str], rules: Iterable[_Rule]
) -> tuple[_Rule | None, list[tuple[str, str]]]:
    """The first of the rules that join most of ``sample``, and its pairs."""
    best: tuple[_Rule | None, list[tuple[str, str]]] = None, []
    for rule in rules:
        pairs = _join(rule, sample, available)
        if len(pairs) > len(best[1]):
            best = rule, pairs
    return best


def _join(rule: _Rule, missing: Collection[str], available: Collection[str]) -> list[tuple[str, str]]:
    left = [(rule.spell_missing(one), one) for one in missing]
    right = [(rule.spell_available(one), one) for one in available]
    if rule.one_to_one:
        left, right = _unambiguous(left), _unambiguous(right)
    counterparts = dict(right)
    return [(one, counterparts[spelling]) for spelling, one in left if spelling and spelling in counterparts]


def _unambiguous(spelt: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out spellings that several ids share, as ``00001`` of many speakers."""
    counts = Counter(spelling for spelling, _ in spelt)
    return [(spelling, one) for spelling, one in spelt if counts[spelling] == 1]


def _affix_rules(missing: list[str], available: Collection[str]) -> Iterator[_Rule]:
    """Rules for a constant prefix or suffix that the first few missing ids suggest."""
    known = {_canonical(one) for one in available}
    affixes = dict.fromkeys(affix for probe in missing[:_PROBES] for affix in _affixes(_canonical(probe), known))
    for verb, where, affix in list(affixes)[:_PROBES]:
        strip = _stripper(where, affix)
        spellings = (_canonical, strip) if verb == "lacks" else (strip, _canonical)
        yield _Rule(f"the list {verb} the {where} {affix!r}", *spellings)


def _affixes(probe: str, known: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for one in known:
        if min(len(probe), len(one)) < _SHORTEST or len(probe) == len(one):
            continue
        verb, short, long = ("lacks", probe, one) if len(probe) < len(one) else ("has", one, probe)
        if long.endswith(short):
            yield verb, "prefix", long[: -len(short)]
        elif long.startswith(short):
            yield verb, "suffix", long[len(short) :]


def _stripper(where: str, affix: str) -> Spelling:
    """Spelling without the affix; empty, which joins nothing, for an id that does not have it."""

    def strip(name: str) -> str:
        spelt = _canonical(name)
        rest = spelt.removeprefix(affix) if where == "prefix" else spelt.removesuffix(affix)
        return rest if rest != spelt else ""

    return strip


def _drop_extension(name: str) -> str:
    return _EXTENSION.sub("", name)


def _canonical(name: str) -> str:
    return _SEPARATOR.sub("-", _drop_extension(name)).lower()


def _last_part(name: str) -> str:
    return _drop_extension(name).rpartition("/")[2]


def _first_part(name: str) -> str:
    return _canonical(name).partition("-")[0]


def _without_first_part(name: str) -> str:
    return _canonical(name).partition("-")[2]


# From the narrowest to the widest: of rules that join equally many ids the first is named.
_SAME_PARTS = (
    _Rule("file extension", _drop_extension, _drop_extension),
    _Rule("letter case", str.lower, str.lower),
    _Rule("folders", _last_part, _last_part),
    _Rule("separators, extension", _canonical, _canonical),
)
_OTHER_PARTS = (
    _Rule("the list lacks the first part", _canonical, _without_first_part),
    _Rule("the list has one part more in front", _without_first_part, _canonical),
    _Rule("the list names speakers: spk_xvector.scp has those", _canonical, _first_part, one_to_one=False),
    _Rule("the list names utterances, the other side speakers", _first_part, _canonical, one_to_one=False),
)
