"""Error rates of a score file: read scores, join them with trials and speakers, measure, write."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imlkd.corpora.trials import Trials, join_check, read_trials
from imlkd.errors import UserError
from imlkd.files import atomic_open, atomic_write_text
from imlkd.kaldi_io import read_lines, read_table
from imlkd.scoring.intervals import Interval, SpeakerTrials, speaker_bootstrap
from imlkd.scoring.metrics import Floats, eer, eer_kaldi, eer_rocch, min_dcf

P_TARGETS = (0.01, 0.001, 0.05)  # Kaldi's two, and that of VoxSRC


@dataclass(frozen=True)
class Measure:
    """An error measure.

    :param value: a fraction (0 to 1) for an EER, a normalised cost (0 to 1) for a minDCF.
    :param threshold: accept a trial when its score is at least this; inf: reject all (``null`` in JSON).
    :param interval: 95 % interval over speakers; None where there is none.
    """

    value: float
    threshold: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a score file says about a system. Error rates are fractions, 0 to 1.

    :param eer: the headline: linear interpolation on the ROC.
    :param eer_kaldi: as Kaldi's ``compute-eer`` finds it; ``eer_rocch``: on the ROC's convex hull.
    :param min_dcf: normalised minDCF with unit costs, by the prior of a target (0.01, 0.001, 0.05).
    :param speakers: number of speakers in the trials; None without a speaker map.
    :param draws: bootstrap draws behind the intervals; 0 when there are no intervals.
    :param few_speakers: fewer than 20 speakers: the intervals are a hint only.
    """

    eer: Measure
    eer_kaldi: Measure
    eer_rocch: float
    min_dcf: dict[float, Measure]
    targets: int
    nontargets: int
    speakers: int | None
    draws: int
    few_speakers: bool

    def to_json(self) -> str:
        """One JSON object with the fields as named here; keys of ``min_dcf`` are the priors as text."""
        fields = dataclasses.asdict(self)
        fields["min_dcf"] = {str(prior): measure for prior, measure in fields["min_dcf"].items()}
        return json.dumps(_finite(fields), indent=2, allow_nan=False) + "\n"

    def write_json(self, path: Path | str) -> None:
        """Write ``to_json`` atomically."""
        atomic_write_text(path, self.to_json())

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        measures = {float(prior): _measure(measure) for prior, measure in fields["min_dcf"].items()}
        points = {name: _measure(fields[name]) for name in ("eer", "eer_kaldi")}
        return cls(**{**fields, **points, "min_dcf": measures})


def evaluate(
    scores_path: Path | str,
    trials_path: Path | str,
    utt2spk: Sequence[Path | str] | Mapping[str, str] = (),
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure a three-column score file against its trials.

    :param utt2spk: Kaldi ``utt2spk`` files of the sides' sets, or a mapping from utterance to speaker; an enrolment
        id may also be a speaker. Empty: no intervals.
    :param draws: bootstrap draws of the intervals; 0: no intervals.
    :raises UserError: naming file and line, for unreadable input, scores and trials that do not match, or labels that
        contradict the speakers.
    """
    trials = read_trials(trials_path)
    scores = read_scores(scores_path, trials)
    speakers = utt2spk if isinstance(utt2spk, Mapping) else read_speakers(utt2spk)
    return evaluate_scores(trials, scores, speakers, draws, seed)


def evaluate_scores(
    trials: Trials, scores: Floats, utt2spk: Mapping[str, str], draws: int = 1000, seed: int = 0
) -> Evaluation:
    """Measure ``scores``, (number of trials,), in the order of ``trials``; see ``evaluate``."""
    target, nontarget = scores[trials.is_target], scores[~trials.is_target]
    by_speaker = speaker_trials(trials, scores, utt2spk) if utt2spk else None
    bootstrap = speaker_bootstrap(by_speaker, P_TARGETS, draws, seed) if by_speaker else None
    intervals = bootstrap.min_dcf if bootstrap else {}
    return Evaluation(
        eer=Measure(*eer(target, nontarget), bootstrap.eer if bootstrap else None),
        eer_kaldi=Measure(*eer_kaldi(target, nontarget)),
        eer_rocch=eer_rocch(target, nontarget),
        min_dcf={p: Measure(*min_dcf(target, nontarget, p), intervals.get(p)) for p in P_TARGETS},
        targets=len(target),
        nontargets=len(nontarget),
        speakers=len(by_speaker.speakers()) if by_speaker else None,
        draws=bootstrap.draws if bootstrap else 0,
        few_speakers=bootstrap.few_speakers if bootstrap else False,
    )


def read_scores(path: Path | str, trials: Trials) -> Floats:
    """Read a score file in any order; returns the scores in the order of ``trials``.

    :raises UserError: naming file and line: not three columns, no finite number, a pair that is no trial, two values
        for one pair; or how many trials have no score, and the first of them.
    """
    path = Path(path)
    index = {pair: i for i, pair in enumerate(trials.pairs())}
    scores = np.full(len(trials), np.nan)
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: expected 3 columns (<enroll> <test> <score>), {_describe(fields)}")
        place = index.get((fields[0], fields[1]))
        if place is None:
            raise UserError(f"{path}:{number}: {fields[0]} {fields[1]} is no trial of {trials.path}: is it its list?")
        value = _parse_score(fields[2], f"{path}:{number}")
        if value != scores[place] and not math.isnan(scores[place]):
            raise UserError(f"{path}:{number}: {fields[0]} {fields[1]} already has another score: score the list again")
        scores[place] = value
    _refuse_missing(path, trials, scores)
    return scores


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
    join_check(trials, index, source="utt2spk")
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


def write_eer_input(path: Path | str, trials: Trials, scores: Floats) -> None:
    """Write what Kaldi's ``compute-eer`` reads: ``<score> target|nontarget`` in trial order, atomically."""
    with atomic_open(path) as stream:
        stream.writelines(
            f"{score!r} {'target' if is_target else 'nontarget'}\n"
            for score, is_target in zip(scores.tolist(), trials.is_target.tolist(), strict=True)
        )


def _parse_score(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{place}: {text!r} is no number: expected <enroll> <test> <score>") from None
    if not math.isfinite(value):
        raise UserError(f"{place}: score is {text}: look at the embeddings of this pair")
    return value


def _describe(fields: list[str]) -> str:
    if len(fields) == 4 and fields[3] in ("target", "nontarget", "0", "1"):
        return f"found a fourth with the label {fields[3]!r}: cut it off (`cut -d' ' -f1-3`)"
    return f"found {len(fields)}"


def _refuse_missing(path: Path, trials: Trials, scores: Floats) -> None:
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        i = int(missing[0])
        raise UserError(
            f"{path}: {len(missing)} of {len(trials)} trials have no score; first: {trials.enroll[i]} "
            f"{trials.test[i]} ({trials.place(i)}): score the list again"
        )


def _finite(value: Any) -> Any:
    """JSON has no infinity: a threshold that rejects all becomes null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _measure(fields: dict[str, Any]) -> Measure:
    threshold = math.inf if fields["threshold"] is None else fields["threshold"]
    interval = Interval(**fields["interval"]) if fields["interval"] else None
    return Measure(fields["value"], threshold, interval)
