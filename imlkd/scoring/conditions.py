"""Trials by condition: gender, duration, corpus, noise, same or cross recording, from tables by id.

A table is ``utt2*`` or ``spk2*``: ``<utterance or speaker> <value>``. A trial is in the condition of its two sides'
values: ``f`` when both are, ``f/m`` when they differ. Two names mean more:

- ``duration``: values are seconds, and a trial is in the bin of its shorter side;
- ``recording``: a trial is ``same`` or ``cross``. Nontargets of one recording hardly exist, so both kinds of targets
  are measured against all nontargets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.corpora.trials.enrolment import read_models
from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table
from imlkd.scoring.evaluate import Choices, Evaluation, evaluate_scores
from imlkd.scoring.metrics import Floats

DURATION, RECORDING = "duration", "recording"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Condition:
    """A part of the trials.

    :param evaluation: None where one kind of trials is missing.
    """

    name: str
    value: str
    targets: int
    nontargets: int
    evaluation: Evaluation | None

    def fields(self) -> dict[str, Any]:
        """Ready for JSON: the evaluation's fields, or the counts alone."""
        return self.evaluation.fields() if self.evaluation else {"targets": self.targets, "nontargets": self.nontargets}


def read_values(
    name: str,
    paths: Sequence[Path],
    trials: Trials,
    utt2spk: Mapping[str, str],
    models: Path | None = None,
    id_map: IdMap | None = None,
) -> dict[str, str]:
    """The value of each id of ``trials``: its own, else its speaker's; a model's is that of its utterances.

    A model's duration is the sum of its utterances'; of two values it has ``mixed``.

    :raises UserError: with how many ids have no value, and the first five.
    """
    values: dict[str, str] = {}
    for path in paths:
        values |= read_table(path, fields=2, sorted_ids=False)
    place = ", ".join(map(str, paths))
    if models is not None:
        for model, utterances in read_models(models)[0].items():
            own = [values[one] for one in utterances if one in values]
            if own and model not in values:
                values[model] = _of_model(name, own, place)
    names = list(dict.fromkeys([*trials.enroll, *trials.test]))
    values = (id_map or IdMap()).extend(values, (one for one in names if utt2spk.get(one) not in values), place)
    found = {one: values.get(one) or values.get(utt2spk.get(one, "")) for one in names}
    missing = [one for one, value in found.items() if value is None]
    if missing:
        raise UserError(
            f"{place}: {len(missing)} of {len(names)} ids have no {name}, first: {', '.join(missing[:5])}: add them"
        )
    return {one: value for one, value in found.items() if value is not None}


def conditions_of(name: str, trials: Trials, values: Mapping[str, str], bins: Sequence[float]) -> dict[str, Mask]:
    """Which trials are in each condition, (number of trials,) by value, values in order.

    :param bins: edges in seconds between the bins of ``duration``.
    :raises UserError: naming an id whose duration is no number.
    """
    if name == DURATION:
        seconds = {one: _seconds(value, one) for one, value in values.items()}
        shorter = np.minimum([seconds[one] for one in trials.enroll], [seconds[one] for one in trials.test])
        place = np.searchsorted(bins, shorter, side="right")
        return {text: place == i for i, text in enumerate(_bin_names(bins)) if (place == i).any()}
    enroll, test = ([values[one] for one in side] for side in (trials.enroll, trials.test))
    if name == RECORDING:
        same = np.array([a == b for a, b in zip(enroll, test, strict=True)])
        return {"same": same | ~trials.is_target, "cross": ~same | ~trials.is_target}
    pairs = np.array([a if a == b else "/".join(sorted((a, b))) for a, b in zip(enroll, test, strict=True)])
    return {str(value): pairs == value for value in np.unique(pairs)}


def evaluate_conditions(
    name: str,
    masks: Mapping[str, Mask],
    trials: Trials,
    scores: Floats,
    utt2spk: Mapping[str, str],
    choices: Choices,
) -> list[Condition]:
    """Measure each part on its own; intervals as of the whole."""
    found = []
    for value, mask in masks.items():
        targets = int(trials.is_target[mask].sum())
        nontargets = int(mask.sum()) - targets
        evaluation = None
        if targets and nontargets:
            evaluation = evaluate_scores(trials.chosen(mask), scores[mask], utt2spk, choices)
        found.append(Condition(name, value, targets, nontargets, evaluation))
    return found


def _of_model(name: str, values: list[str], place: str) -> str:
    if name == DURATION:
        return str(sum(_seconds(value, place) for value in values))
    return values[0] if len(set(values)) == 1 else "mixed"


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds < np.inf:
        raise UserError(f"{name}: {text!r} is no duration in seconds: mend the table")
    return seconds


def _bin_names(bins: Sequence[float]) -> list[str]:
    between = [f"{low:g}-{high:g} s" for low, high in zip(bins, bins[1:], strict=False)]
    return [f"< {bins[0]:g} s", *between, f">= {bins[-1]:g} s"]
