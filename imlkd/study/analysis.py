"""From the records of a study to its table: means, spreads, and paired differences over speakers and seeds.

A row's error rate is the mean over the folds, each fold's that of its own held-out speakers; where the corpus mixes
several, the primary figure is the mean over them. A difference of two rows is drawn with both on the same speakers of
each fold, and on seeds of each drawn by themselves: the two-way bootstrap of `imlkd compare`, fold by fold. Interval
and p are corrected for the number of speakers as there, of whom each fold and corpus has its own draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from imlkd.scoring.compare import draw_seeds, holm, least_p, two_sided_p
from imlkd.scoring.intervals import FEW_SPEAKERS, Interval, widened, widened_interval
from imlkd.scoring.metrics import Costs, Floats
from imlkd.scoring.resampling import SpeakerTrials, WeightedTrials, draw_speakers
from imlkd.study.folds import Fold
from imlkd.study.record import Record

ALL = "all"
MEAN = "mean"  # over the corpora
RECORDINGS = ("cross", "same")  # of the target trials
COSTS = Costs((0.01,))
MEASURES = ("eer", "min_dcf")
LEVEL = 0.05  # that p is compared with
POWER = (NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8))  # of a two-sided level of 5 %, of a power of 80 %
Places = dict[tuple[int, str], SpeakerTrials]


@dataclass(frozen=True)
class Slice:
    """Trials of one corpus, and targets of one kind.

    :param corpus: ``all`` for every one; ``targets``: ``all``, or one of ``RECORDINGS``.
    """

    condition: str = "full"
    corpus: str = ALL
    targets: str = ALL

    @property
    def name(self) -> str:
        return "/".join(part for part in (self.condition, self.corpus, self.targets) if part != ALL)


@dataclass(frozen=True)
class Cell:
    """A row's error measure.

    :param values: of each seed, the mean over the folds.
    """

    values: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None with one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Paired:
    """The reference less another row, relative to the other: below zero where the reference is better.

    :param p_holm: two-sided p, corrected for all rows of the table.
    :param detectable: the smallest relative difference that such trials and seeds show with 80 % power.
    :param least_p: the least ``p_holm`` that so many draws can give.
    :param few_speakers: fewer than ``FEW_SPEAKERS`` in all folds: read interval and p as a hint only.
    """

    row: str
    relative: float
    interval: Interval
    p: float
    p_holm: float
    detectable: float
    least_p: float
    few_speakers: bool


def cautions(found: Sequence[Paired]) -> str:
    """What the differences of a table cannot say; empty where nothing is in the way."""
    few = f"Fewer than {FEW_SPEAKERS} speakers: intervals and p are a hint only." if found[0].few_speakers else ""
    least = max(one.least_p for one in found)
    grain = f"So few draws give no p below {least:.2g}: raise draws." if least >= LEVEL else ""
    return " ".join(filter(None, (few, grain)))


def speaker_trials(fold: Fold, scores: Floats, piece: Slice) -> SpeakerTrials | None:
    """A fold's scores in one slice; None where it has no trials of one kind."""
    trials, same = fold.trials, fold.trials.is_target
    names = {name: i for i, name in enumerate(sorted(set(fold.speaker.values())))}
    enroll = np.array([names[fold.speaker[one]] for one in trials.enroll])
    test = np.array([names[fold.speaker[one]] for one in trials.test])
    mask = np.ones(len(trials), dtype=np.bool_)
    if piece.corpus != ALL:
        mask &= np.array([fold.corpus[one] == piece.corpus for one in trials.enroll])
    if piece.targets != ALL:
        crossing = np.array([fold.recording[a] != fold.recording[b] for a, b in trials.pairs()])
        mask &= ~same | (crossing if piece.targets == "cross" else ~crossing)
    target, nontarget = mask & same, mask & ~same
    if not target.any() or not nontarget.any():
        return None
    return SpeakerTrials(scores[target], enroll[target], scores[nontarget], enroll[nontarget], test[nontarget])


@dataclass(frozen=True)
class Analysis:
    """Records of one student of a study, ready to be measured.

    :param records: by row, then seed, then fold; a seed counts where all folds have it.
    """

    folds: Mapping[int, Fold]
    records: Mapping[str, Mapping[int, Mapping[int, Record]]]
    draws: int

    @classmethod
    def of(cls, folds: Sequence[Fold], records: Sequence[Record], student: str, draws: int) -> Analysis:
        """Of the records of ``student``, the teachers' among them."""
        found: dict[str, dict[int, dict[int, Record]]] = {}
        for record in records:
            if record.student == student or record.row == "teacher":
                found.setdefault(record.row, {}).setdefault(record.seed, {})[record.fold] = record
        whole = {
            row: {seed: own for seed, own in sorted(seeds.items()) if len(own) == len(folds)}
            for row, seeds in found.items()
        }
        return cls({fold.number: fold for fold in folds}, {row: own for row, own in whole.items() if own}, draws)

    def corpora(self) -> list[str]:
        """Those in which every fold has trials of both kinds; empty when there is one only."""
        names = sorted({name for fold in self.folds.values() for name in fold.corpus.values()})
        return names if len(names) > 1 else []

    def cell(self, row: str, condition: str, corpus: str = ALL, targets: str = ALL, measure: int = 0) -> Cell | None:
        """A row's measure in a slice; ``mean`` for ``corpus`` is the mean over the corpora. None without records."""
        pieces = self._pieces(condition, corpus, targets)
        values = []
        for own in self.records.get(row, {}).values():
            found = [self._measured(own, piece, measure) for piece in pieces]
            if any(one is None for one in found):
                return None
            values.append(float(np.mean([one for one in found if one is not None])))
        return Cell(values) if values else None

    def _pieces(self, condition: str, corpus: str, targets: str) -> list[Slice]:
        corpora = (self.corpora() or [ALL]) if corpus == MEAN else [corpus]
        return [Slice(condition, one, targets) for one in corpora]

    def _measured(self, own: Mapping[int, Record], piece: Slice, measure: int) -> float | None:
        """The mean over the folds that have such trials."""
        found = []
        for _, trials in self._parts(own, piece):
            weights = np.ones(int(trials.speakers()[-1]) + 1, dtype=np.int64)
            values = WeightedTrials(trials, COSTS).measure(weights)
            assert values is not None
            found.append(values[0][measure])
        return float(np.mean(found)) if found else None

    def _parts(self, own: Mapping[int, Record], piece: Slice) -> Iterator[tuple[int, SpeakerTrials]]:
        """A run's trials in the folds that have both kinds of them, by number."""
        for number, fold in self.folds.items():
            trials = speaker_trials(fold, own[number].score(piece.condition), piece)
            if trials is not None:
                yield number, trials

    def compare(self, reference: str, condition: str, measure: int = 0, seed: int = 0) -> list[Paired]:
        """The reference against every other row but the teacher, in the primary figure of a condition.

        A row without an error, in all trials or in more than 5 % of the draws, has no relative difference and is left
        out.
        """
        others = [row for row in self.records if row not in (reference, "teacher")]
        if reference not in self.records or not others:
            return []
        groups = self._groups(reference, condition)
        first = self._drawn(reference, condition, measure, seed)
        found = [_paired(row, first, self._drawn(row, condition, measure, seed), groups) for row in others]
        paired = [one for one in found if one is not None]
        corrected = holm([one.p for one in paired])
        return [
            replace(one, p_holm=p, least_p=min(1.0, len(paired) * one.least_p))
            for one, p in zip(paired, corrected, strict=True)
        ]

    def _groups(self, row: str, condition: str) -> list[int]:
        """Speakers in the trials of each fold and corpus, which are drawn by themselves."""
        own = next(iter(self.records[row].values()))
        pieces = self._pieces(condition, MEAN, ALL)
        return [len(trials.speakers()) for piece in pieces for _, trials in self._parts(own, piece)]

    def _drawn(self, row: str, condition: str, measure: int, seed: int) -> _Drawn:
        pieces = self._pieces(condition, MEAN, ALL)
        runs = list(self.records[row].values())
        each = [
            [self._draws(own, piece, measure, seed * 1_000_000 + place * 1000) for place, piece in enumerate(pieces)]
            for own in runs
        ]
        values = np.array(each).mean(axis=1)  # (seeds, draws)
        of_seeds = np.random.SeedSequence([seed, *row.encode()])
        picks = draw_seeds(len(runs), values.shape[1], of_seeds)
        drawn = values[picks, np.arange(values.shape[1])[:, None]].mean(axis=1)
        whole = self.cell(row, condition, MEAN, measure=measure)
        assert whole is not None
        return _Drawn(whole.mean, drawn)

    def _draws(self, own: Mapping[int, Record], piece: Slice, measure: int, seed: int) -> Floats:
        """A run's measure on each draw of speakers: the mean over the folds that have both kinds of trials in it.

        :param seed: of the draws of fold 0; the others follow it.
        """
        each = []
        for number, trials in self._parts(own, piece):
            weighted = WeightedTrials(trials, COSTS)
            draws = draw_speakers(trials.speakers(), self.draws, seed + number)
            each.append([found[0][measure] if (found := weighted.measure(count)) else np.nan for count in draws])
        values = np.array(each)
        counts = np.isfinite(values).sum(axis=0)
        means: Floats = np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)
        return means


@dataclass(frozen=True)
class _Drawn:
    whole: float
    draws: Floats


def _paired(row: str, first: _Drawn, second: _Drawn, groups: Sequence[int]) -> Paired | None:
    """The first less ``row``, the second; None where there is no relative difference."""
    measured = np.isfinite(first.draws) & np.isfinite(second.draws)
    both = measured & (second.draws > 0.0)
    if second.whole == 0.0 or both.sum() < 0.95 * max(2, measured.sum()):
        return None
    gaps = (first.draws[both] - second.draws[both]) / second.draws[both]
    speakers, strata = sum(groups), len(groups)
    p = two_sided_p(gaps, speakers, strata)
    reach = sum(widened(deviate, speakers, strata) for deviate in POWER)
    return Paired(
        row, (first.whole - second.whole) / second.whole, widened_interval(gaps, speakers, strata), p, p,
        reach * float(gaps.std(ddof=1)), least_p(len(gaps), 1, speakers, strata), speakers < FEW_SPEAKERS,
    )  # fmt: skip
