"""Error rates of a score file: read scores, join them with trials and speakers, measure, write."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.files import atomic_open, atomic_write_text
from imlkd.scoring.cllr import cllr_of, min_cllr_of
from imlkd.scoring.intervals import Interval, speaker_bootstrap
from imlkd.scoring.metrics import Costs, Floats, SortedScores
from imlkd.scoring.resampling import SpeakerTrials
from imlkd.scoring.score_file import read_scores
from imlkd.scoring.speakers import read_speakers, speaker_trials

P_TARGETS = Costs().p_targets


@dataclass(frozen=True)
class Choices:
    """What is measured, and how sure it is.

    :param llr: scores are natural log-likelihood ratios: actDCF, Cllr and minCllr as well.
    :param draws: bootstrap draws of the intervals; 0: no intervals. ``seed``: of the draws.
    :param interval: one of ``intervals.METHODS``.
    """

    costs: Costs = field(default_factory=Costs)
    llr: bool = False
    draws: int = 1000
    seed: int = 0
    interval: str = "corrected"


@dataclass(frozen=True)
class Measure:
    """An error measure that is reached at a threshold.

    :param value: a fraction (0 to 1) for an EER, a normalised cost for a DCF.
    :param threshold: accept a trial when its score is at least this; inf: reject all (``null`` in JSON).
    :param interval: 95 % interval over speakers; None where there is none.
    :param threshold_interval: where the threshold lies in 95 % of the draws; None for thresholds that are given.
    """

    value: float
    threshold: float
    interval: Interval | None = None
    threshold_interval: Interval | None = None


@dataclass(frozen=True)
class Estimate:
    """A measure without a threshold, in bits, with its 95 % interval over speakers."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a score file says about a system. Error rates are fractions, 0 to 1.

    :param eer: the headline: linear interpolation on the ROC.
    :param eer_kaldi: as Kaldi's ``compute-eer`` finds it; ``eer_rocch``: on the ROC's convex hull.
    :param min_dcf: normalised minDCF by the prior of a target; ``act_dcf``: likewise, at Bayes' threshold.
    :param act_dcf: empty, ``cllr`` and ``min_cllr`` None unless the scores are log-likelihood ratios.
    :param speakers: number of speakers in the trials; None without a speaker map.
    :param draws: bootstrap draws behind the intervals; 0 when there are no intervals.
    :param few_speakers: fewer than 20 speakers: the intervals are a hint only.
    :param c_miss: cost of a missed target, ``c_fa`` that of a false alarm, in ``min_dcf`` and ``act_dcf``.
    :param interval: kind of the intervals, one of ``intervals.METHODS``.
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
    act_dcf: dict[float, Measure] = field(default_factory=dict)
    cllr: Estimate | None = None
    min_cllr: float | None = None
    c_miss: float = 1.0
    c_fa: float = 1.0
    interval: str = "corrected"

    def fields(self) -> dict[str, Any]:
        """The fields as named here, ready for JSON; keys of ``min_dcf`` and ``act_dcf`` are the priors as text."""
        found = dataclasses.asdict(self)
        for name in ("min_dcf", "act_dcf"):
            found[name] = {str(prior): measure for prior, measure in found[name].items()}
        return cast(dict[str, Any], _finite(found))

    def to_json(self) -> str:
        """One JSON object of ``fields``."""
        return json.dumps(self.fields(), indent=2, allow_nan=False) + "\n"

    def write_json(self, path: Path | str) -> None:
        """Write ``to_json`` atomically."""
        atomic_write_text(path, self.to_json())

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The inverse of ``to_json``; what is written of conditions is left out."""
        fields = json.loads(text)
        fields.pop("conditions", None)  # of `imlkd evaluate --by`
        for name in ("min_dcf", "act_dcf"):
            fields[name] = {float(prior): _measure(one) for prior, one in fields.get(name, {}).items()}
        for name in ("eer", "eer_kaldi"):
            fields[name] = _measure(fields[name])
        if bits := fields.get("cllr"):
            fields["cllr"] = Estimate(bits["value"], _interval(bits["interval"]))
        return cls(**fields)


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
    return evaluate_scores(trials, scores, speakers, Choices(draws=draws, seed=seed))


def evaluate_scores(
    trials: Trials, scores: Floats, utt2spk: Mapping[str, str], choices: Choices | None = None
) -> Evaluation:
    """Measure ``scores``, (number of trials,), in the order of ``trials``; see ``evaluate``."""
    by_speaker = speaker_trials(trials, scores, utt2spk) if utt2spk else None
    return measure(scores[trials.is_target], scores[~trials.is_target], by_speaker, choices or Choices())


def measure(target: Floats, nontarget: Floats, by_speaker: SpeakerTrials | None, choices: Choices) -> Evaluation:
    """Measure target and nontarget scores, with intervals where ``by_speaker`` gives their speakers."""
    costs, llr, scores = choices.costs, choices.llr, SortedScores(target, nontarget)
    found = None
    if by_speaker:
        found = speaker_bootstrap(by_speaker, costs, choices.draws, choices.seed, choices.interval, llr)
    prices = {p: (p, costs.c_miss, costs.c_fa) for p in costs.p_targets}
    return Evaluation(
        eer=Measure(*scores.eer(), *((found.eer, found.eer_threshold) if found else ())),
        eer_kaldi=Measure(*scores.eer_kaldi()),
        eer_rocch=scores.eer_rocch(),
        min_dcf={
            p: Measure(*scores.min_dcf(*price), *((found.min_dcf[p], found.min_dcf_threshold[p]) if found else ()))
            for p, price in prices.items()
        },
        targets=len(target),
        nontargets=len(nontarget),
        speakers=len(by_speaker.speakers()) if by_speaker else None,
        draws=found.draws if found else 0,
        few_speakers=found.few_speakers if found else False,
        act_dcf={
            p: Measure(*scores.act_dcf(*price), found.act_dcf[p] if found else None)
            for p, price in prices.items()
            if llr
        },
        cllr=Estimate(cllr_of(scores), found.cllr if found else None) if llr else None,
        min_cllr=min_cllr_of(scores) if llr else None,
        c_miss=costs.c_miss,
        c_fa=costs.c_fa,
        interval=choices.interval,
    )


def write_eer_input(path: Path | str, trials: Trials, scores: Floats) -> None:
    """Write what Kaldi's ``compute-eer`` reads: ``<score> target|nontarget`` in trial order, atomically."""
    with atomic_open(path) as stream:
        stream.writelines(
            f"{score!r} {'target' if is_target else 'nontarget'}\n"
            for score, is_target in zip(scores.tolist(), trials.is_target.tolist(), strict=True)
        )


def _finite(value: Any) -> Any:
    """JSON has no infinity: a threshold that rejects all becomes null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _measure(fields: dict[str, Any]) -> Measure:
    threshold = math.inf if fields["threshold"] is None else fields["threshold"]
    intervals = (_interval(fields.get(name)) for name in ("interval", "threshold_interval"))
    return Measure(fields["value"], threshold, *intervals)


def _interval(fields: dict[str, float | None] | None) -> Interval | None:
    if fields is None:
        return None
    bounds = (math.inf if fields[name] is None else fields[name] for name in ("low", "high"))
    return Interval(*cast(Iterable[float], bounds))
