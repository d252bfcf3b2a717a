"""The join of a trial list with embeddings and enrolment, before anything is scored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from imlkd.corpora.trials.id_mapping import likely_mapping
from imlkd.corpora.trials.lists import TrialSource
from imlkd.errors import UserError

_LISTED = 5


class Enrolment(NamedTuple):
    """Models of several utterances: who they are made of, and which utterances there are (in ``source``)."""

    models: Mapping[str, list[str]]
    utterances: Collection[str]
    source: str


def join_check(
    trials: TrialSource,
    enroll_ids: Collection[str],
    test_ids: Collection[str] | None = None,
    source: str = "the embeddings",
    option: str = "",
    enrolment: Enrolment | None = None,
) -> None:
    """Make sure that every id of ``trials``, and every utterance of their models, exists.

    :param test_ids: None when both sides are looked up in ``enroll_ids``.
    :param source: what the ids are looked up in, for the message; ``option``: of the command, that maps ids.
    :raises UserError: with how many ids of each side are missing, the first five, and a hint at the likely mapping.
    """
    known_enroll = set(enroll_ids)
    known_test = known_enroll if test_ids is None else set(test_ids)
    enroll, test = dict.fromkeys(trials.enroll), dict.fromkeys(trials.test)
    missing_enroll = [name for name in enroll if name not in known_enroll]
    missing_test = [name for name in test if name not in known_test]
    of_models, missing_utterances = _of_models(enroll, enrolment)
    missing = list(dict.fromkeys(missing_enroll + missing_test + missing_utterances))
    if not missing:
        return
    available = known_enroll if missing_enroll else known_test
    if not missing_enroll and not missing_test and enrolment is not None:
        available = set(enrolment.utterances)
    third = ""
    if enrolment is not None:
        third = f", {len(missing_utterances)} of {of_models} enrolment utterances not in {enrolment.source}"
    raise UserError(
        f"{trials.path}: {len(missing_enroll)} of {len(enroll)} enrolment ids and {len(missing_test)} of {len(test)} "
        f"test ids are not in {source}{third}; first: {', '.join(missing[:_LISTED])}; "
        f"{likely_mapping(missing_enroll or missing_test or missing_utterances, available, option)}"
    )


def _of_models(enroll: Collection[str], enrolment: Enrolment | None) -> tuple[int, list[str]]:
    """How many utterances the models of the trials are made of, and those that are missing."""
    if enrolment is None:
        return 0, []
    wanted = dict.fromkeys(one for name in enroll for one in enrolment.models.get(name, ()))
    return len(wanted), [one for one in wanted if one not in enrolment.utterances]
