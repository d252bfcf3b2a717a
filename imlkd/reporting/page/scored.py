"""A trial list with the scores of all models of a run, and what they say of one model beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.reporting.page.tables import COSTS, Cell, Table, cost_difference, p_value, percent, share
from imlkd.reporting.results import Row
from imlkd.scoring.compare import Comparison, Drawn, draw_systems, gap_closed
from imlkd.scoring.intervals import Interval, widened_interval
from imlkd.scoring.metrics import Floats
from imlkd.scoring.resampling import SpeakerTrials
from imlkd.scoring.score_file import read_scores
from imlkd.scoring.speakers import read_speakers, speaker_trials

BASELINE = "none"  # the method without a teacher: the gap is measured from it


@dataclass(frozen=True)
class Gap:
    """How much of the way from the baseline to the teacher a model has gone.

    :param closed: a share; None where the teacher is no better than the baseline.
    :param interval: 95 % over speakers, of the draws in which the teacher is better; None where these are fewer
        than 95 %: the share can be anything then.
    """

    model: str
    closed: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Scored:
    """One trial list.

    :param scores: (number of trials,) by model, in the order of ``trials``; teacher first.
    :param by_speaker: the same, with the speakers of both sides.
    :param drawn: all models on the same draws of speakers, in the order of ``scores``.
    """

    name: str
    trials: Trials
    scores: Mapping[str, Floats]
    by_speaker: Mapping[str, SpeakerTrials]
    drawn: Drawn

    @property
    def targets(self) -> dict[str, tuple[Floats, Floats]]:
        """Target and nontarget scores by model."""
        return {name: (one.target, one.nontarget) for name, one in self.by_speaker.items()}

    def against_others(self, model: str) -> dict[str, Comparison]:
        """The model less each other one on the same draws of speakers; empty where no draw counted."""
        names = list(self.by_speaker)
        found = self.drawn.compare(names.index(model))
        return dict(zip((name for name in names if name != model), found, strict=True)) if found else {}

    def gaps(self, baseline: str, teacher: str) -> list[Gap]:
        """Of every model but these two, in the order of the models."""
        rates = {name: self.drawn.eer(index) for index, name in enumerate(self.by_speaker)}
        (low, low_draws), (high, high_draws) = rates[baseline], rates[teacher]
        return [
            Gap(name, gap_closed(low, own, high), _gap_interval(low_draws, draws, high_draws, self.drawn.speakers))
            for name, (own, draws) in rates.items()
            if name not in (baseline, teacher)
        ]


def _gap_interval(baseline: Floats, row: Floats, teacher: Floats, speakers: int) -> Interval | None:
    """Corrected for the number of speakers, as differences are."""
    better = baseline > teacher
    if not len(better) or better.mean() < 0.95:
        return None
    return widened_interval((baseline[better] - row[better]) / (baseline[better] - teacher[better]), speakers)


def read_scored(data: Path, models: Mapping[str, Path], name: str, draws: int) -> Scored:
    """The list ``name`` (``set/list``) below ``data``, and ``scores/<name>`` in the folders of models by name.

    :param draws: of speakers.
    """
    trials = read_trials(data / name)
    speakers = read_speakers([(data / name).parent / "utt2spk"])
    scores = {key: np.asarray(read_scores(folder / "scores" / name, trials)) for key, folder in models.items()}
    return scored_of(name, trials, scores, speakers, draws)


def scored_of(
    name: str, trials: Trials, scores: Mapping[str, Floats], utt2spk: Mapping[str, str], draws: int
) -> Scored:
    """Scores by model with all that is measured of them."""
    by_speaker = {key: speaker_trials(trials, one, utt2spk) for key, one in scores.items()}
    return Scored(name, trials, scores, by_speaker, draw_systems([[one] for one in by_speaker.values()], COSTS, draws))


def result_table(rows: Sequence[Row], paired: Mapping[str, Comparison], gaps: Sequence[Gap]) -> Table:
    """All models, with the differences ``model`` less each of them, paired on the same trials."""
    closed = {gap.model: gap for gap in gaps}
    columns = ["model", "parameters", "MACs of 2 s", "EER [95 %]", "minDCF(0.01)", "EER, difference [95 %]",
               "p (Holm)", "minDCF, difference [95 %]", "gap closed [95 %]", "minutes"]  # fmt: skip
    cells = []
    for row in rows:
        found, gap = paired.get(row.model), closed.get(row.model)
        eer, cost = row.evaluation.eer, row.evaluation.min_dcf[COSTS.p_targets[0]]
        cells.append([
            Cell(row.model),
            Cell(row.parameters_said, row.parameters or None),
            Cell(row.macs_said, row.macs or None),
            percent(eer.value, eer.interval),
            Cell(f"{cost.value:.3f}", cost.value),
            percent(found.eer.difference, found.eer.interval, "+") if found else Cell(""),
            p_value(found.eer) if found else Cell(""),
            cost_difference(found.min_dcf[COSTS.p_targets[0]]) if found else Cell(""),
            share(gap.closed, gap.interval) if gap else Cell(""),
            Cell(row.minutes_said, row.minutes),
        ])  # fmt: skip
    return Table(columns, cells, _note(rows, paired))


def _note(rows: Sequence[Row], paired: Mapping[str, Comparison]) -> str:
    one = rows[0].evaluation
    speakers = "speakers not known" if one.speakers is None else f"{one.speakers} speakers"
    drawn = next((f", {found.draws} draws of speakers for all systems alike" for found in paired.values()), "")
    few = "; few speakers: read intervals and p as a hint only" if one.few_speakers else ""
    return f"{one.targets} target and {one.nontargets} nontarget trials of {speakers}{drawn}{few}."
