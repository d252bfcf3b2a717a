"""A trial list for test speakers that come without one: pairs drawn, half of them targets, the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imlkd.corpora.kaldi_dir import group_by_speaker
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError

_TRIES = 50  # draws for each pair before there are held to be no more


def drawn_trials(utt2spk: Mapping[str, str], genders: Mapping[str, str], number: int, seed: int = 1) -> Trials:
    """About ``number`` different pairs; nontargets of one gender, where genders are known.

    :raises UserError: when no speaker has two utterances, or there is one speaker alone.
    """
    grouped = group_by_speaker(utt2spk)
    several = [speaker for speaker, own in grouped.items() if len(own) > 1]
    if not several or len(grouped) < 2:
        raise UserError(
            f"no trials can be drawn of {len(grouped)} test speakers, {len(several)} with two utterances: name others"
        )
    random = np.random.default_rng(seed)
    speakers = list(grouped)
    pairs: dict[tuple[str, str], bool] = {}
    for is_target in (True, False):
        wanted = len(pairs) + number // 2
        for _ in range(_TRIES * number):
            if len(pairs) >= wanted:
                break
            one = (several if is_target else speakers)[int(random.integers(len(several if is_target else speakers)))]
            other = one if is_target else speakers[int(random.integers(len(speakers)))]
            if not is_target and (one == other or genders.get(one) != genders.get(other)):
                continue
            pair = tuple(grouped[who][int(random.integers(len(grouped[who])))] for who in (one, other))
            if pair[0] != pair[1] and pair[::-1] not in pairs:
                pairs.setdefault((pair[0], pair[1]), is_target)
    if all(pairs.values()):  # each gender has one speaker
        return drawn_trials(utt2spk, {}, number, seed)
    enroll, test = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Trials(Path("trials"), "kaldi", enroll, test, np.array(list(pairs.values())))
