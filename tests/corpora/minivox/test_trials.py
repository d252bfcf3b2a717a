"""Trials: cross-recording, same gender, balanced, never twice."""

from collections import Counter

import pytest

from imlkd.corpora.minivox.config import FIRST_TEST_VOICE, MinivoxConfig
from imlkd.corpora.minivox.draws import Draws
from imlkd.corpora.minivox.trials import draw_trials
from imlkd.corpora.minivox.voices import Utterance, draw_utterances, draw_voice
from imlkd.errors import UserError


def spoken(voices: int, recordings: int = 4, utterances: int = 4) -> list[Utterance]:
    config = MinivoxConfig(test_voices=voices, recordings=recordings, utterances=utterances)
    numbers = range(FIRST_TEST_VOICE, FIRST_TEST_VOICE + voices)
    return [item for number in numbers for item in draw_utterances(config, draw_voice(config, number), number)]


@pytest.mark.parametrize(
    ("voices", "recordings", "utterances", "nontargets"), [(44, 4, 4, 1), (20, 4, 4, 2), (5, 2, 1, 1), (4, 3, 8, 1)]
)
def test_trials_hold_what_they_promise(voices: int, recordings: int, utterances: int, nontargets: int) -> None:
    items = spoken(voices, recordings, utterances)
    known = {item.name: item for item in items}
    lines = [line.split(" ") for line in draw_trials(items, nontargets, Draws(1, "trials"))]
    assert all(len(line) == 3 for line in lines)
    pairs = [(known[a], known[b], label) for a, b, label in lines]
    targets = {frozenset((a.name, b.name)) for a, b, label in pairs if label == "target"}
    expected = {
        frozenset((a.name, b.name))
        for a in items
        for b in items
        if a.speaker == b.speaker and a.recording != b.recording
    }
    assert targets == expected
    others = [(a, b) for a, b, label in pairs if label == "nontarget"]
    assert len(others) == nontargets * len(targets)
    assert all(a.speaker != b.speaker and a.gender == b.gender and a.sentence != b.sentence for a, b in others)
    assert len({frozenset(line[:2]) for line in lines}) == len(lines)
    assert [" ".join(line) for line in lines] == sorted(" ".join(line) for line in lines)


def test_speakers_take_part_alike() -> None:
    items = spoken(44)
    nontargets = [line.split() for line in draw_trials(items, 1, Draws(1, "trials")) if line.endswith("nontarget")]
    enrolled = Counter(line[0][:5] for line in nontargets)
    tested = Counter(line[1][:5] for line in nontargets)
    pairs = Counter((line[0][:5], line[1][:5]) for line in nontargets)
    assert len(enrolled) == len(tested) == 44
    assert set(enrolled.values()) == {96}
    assert 80 <= min(tested.values()) and max(tested.values()) <= 112
    assert max(pairs.values()) - min(pairs.values()) <= 1
    utterances = Counter(name for line in nontargets for name in line[:2])
    assert len(utterances) == len(items) and max(utterances.values()) <= 24


def test_the_seed_decides() -> None:
    items = spoken(8)
    assert draw_trials(items, 1, Draws(1)) == draw_trials(items, 1, Draws(1))
    assert draw_trials(items, 1, Draws(1)) != draw_trials(items, 1, Draws(2))


def test_too_few_pairs_are_an_error() -> None:
    with pytest.raises(UserError, match="nontargets: 10: too many"):
        draw_trials(spoken(4, 9, 1), 10, Draws(1))
