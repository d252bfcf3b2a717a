"""Who speaks in a trial list: speakers of utterances and of models, and trials with the speakers of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.enrolment import read_models
from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, TrialSource
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table
from imlkd.scoring.metrics import Floats
from imlkd.scoring.resampling import SpeakerTrials
from imlkd.scoring.score_file import ID_MAP


def speakers_by_id(
    trials: TrialSource, utt2spk: Mapping[str, str], models: Path | str | None = None, id_map: IdMap | None = None
) -> dict[str, str]:
    """``utt2spk`` with the ids of ``trials`` that are models, or are spelt otherwise.

    :param models: utterances of models (``imlkd.corpora.trials.enrolment``); a model has their speaker.
    :raises UserError: naming the model whose utterances are of two speakers.
    """
    known = dict(utt2spk)
    if models is not None:
        for model, utterances in read_models(models)[0].items():
            owners = dict.fromkeys(utt2spk[one] for one in utterances if one in utt2spk)
            if len(owners) > 1:
                raise UserError(f"{models}: model {model} has utterances of {' and '.join(owners)}: mend either")
            if owners:
                known.setdefault(model, next(iter(owners)))
    own_names = {speaker: speaker for speaker in known.values()}
    ids = [*trials.enroll, *trials.test]
    return (id_map or IdMap()).extend(known, (one for one in ids if one not in own_names), "utt2spk")


def read_speakers(paths: Sequence[Path | str]) -> dict[str, str]:
    """Join ``utt2spk`` files; UserError when one utterance has two speakers."""
    speakers: dict[str, str] = {}
    for path in paths:
        for utterance, speaker in read_table(path, fields=2, sorted_ids=False).items():
            if speakers.setdefault(utterance, speaker) != speaker:
                raise UserError(f"{path}: {utterance} is {speaker} here and {speakers[utterance]} in another utt2spk")
    return speakers


def speaker_trials(trials: Trials, scores: Floats, utt2spk: Mapping[str, str]) -> SpeakerTrials:
    """Scores with speaker indices.

    :raises UserError: when an id has no speaker, or a label contradicts the speakers.
    """
    speaker_index = {speaker: i for i, speaker in enumerate(dict.fromkeys(utt2spk.values()))}
    index = {**speaker_index, **{utterance: speaker_index[speaker] for utterance, speaker in utt2spk.items()}}
    join_check(trials, index, source="utt2spk", option=ID_MAP)
    enroll = np.array([index[name] for name in trials.enroll], dtype=np.int64)
    test = np.array([index[name] for name in trials.test], dtype=np.int64)
    contradictions = np.flatnonzero((enroll == test) != trials.is_target)
    if len(contradictions):
        i = int(contradictions[0])
        label = "target" if trials.is_target[i] else "nontarget"
        raise UserError(
            f"{trials.place(i)}: {trials.enroll[i]} {trials.test[i]} is labelled {label}, but utt2spk says the "
            f"opposite ({len(contradictions)} such trials): do list and utt2spk belong together?"
        )
    target, nontarget = trials.is_target, ~trials.is_target
    return SpeakerTrials(scores[target], enroll[target], scores[nontarget], enroll[nontarget], test[nontarget])
