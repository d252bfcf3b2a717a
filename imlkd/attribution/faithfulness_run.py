"""The whole test of a model's maps on a data directory: load, choose, embed, take apart, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from imlkd.attribution.areas import Result, results_of
from imlkd.attribution.convergence import Convergence
from imlkd.attribution.faithfulness import FaithfulnessTest, Measured, choose_tested, classes_of
from imlkd.attribution.orders import SELF, Explained, MapOrder
from imlkd.attribution.perturbation import FRACTIONS, ROWS
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.subject import Subject
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.kaldi_io import sort_ids
from imlkd.models.store import load_model
from imlkd.progress import Progress

RELEVANCE, OWN = "relevance", "own"  # the order of the model's maps, alone and beside another model's


@dataclass(frozen=True)
class Choices:
    """What is tested, and how.

    :param durations: seconds, the middle of each utterance.
    :param unit: ``frame`` or ``bin``; ``fill``: baseline in the place of what is hidden.
    :param explained: a map's order each.
    :param classes: ``head``, ``data`` or ``auto``.
    :param per_speaker: tested utterances of each speaker at most; 0: all, or half where classes come from the data.
    :param seed: of the drawn utterances, the random order and the draws of speakers.
    :param draws: of speakers, for the intervals.
    :param rows: perturbed inputs at once.
    """

    durations: Sequence[float] = (1.0, 2.0, 3.0)
    unit: str = "frame"
    fill: str = "mean"
    explained: Sequence[Explained] = (Explained(),)
    classes: str = "auto"
    per_speaker: int = 2
    seed: int = 0
    draws: int = 1000
    rows: int = ROWS
    allow_pipes: bool = False
    relevance: RelevanceConfig = field(default_factory=RelevanceConfig)


@dataclass(frozen=True)
class Report:
    """Measures of all durations.

    :param about: what was tested, ready for JSON.
    """

    about: dict[str, Any]
    measured: list[Measured]
    results: list[Result]
    utt2spk: dict[str, str]

    def fields(self) -> dict[str, Any]:
        """One object for JSON: what was tested, then by duration."""
        durations = {}
        for one in self.measured:
            found: dict[str, Any] = {
                "utterances": len(one.utterances),
                "speakers": self.speakers(one),
                "trials": len(one.trials) if one.trials else 0,
                "targets": int(one.trials.is_target.sum()) if one.trials else 0,
                "completeness": {name: _completeness(found) for name, found in one.completeness.items()},
                "agreement": {
                    name: dict(zip(one.orders, map(float, row), strict=True))
                    for name, row in zip(one.orders, one.agreement, strict=True)
                },
            }
            for result in self.results:
                if result.seconds == one.seconds:
                    parts = asdict(result)
                    kept = {name: parts[name] for name in ("curves", "areas", "gaps")}
                    found.setdefault(result.mode, {})[result.measure] = kept
            durations[f"{one.seconds:g}"] = found
        return {**self.about, "fractions": list(FRACTIONS), "durations": durations}

    def speakers(self, measured: Measured) -> int:
        """Speakers of the tested utterances."""
        return len({self.utt2spk[name] for name in measured.utterances})


def _completeness(found: Convergence) -> dict[str, float]:
    return {
        "median_error": median(found.errors.values()),
        "failing": len(found.failing),
        "tolerance": found.tolerance,
        "nodes": fmean(found.nodes.values()),
    }


def faithfulness_of(
    model: Path, data_dir: Path, choices: Choices, trials: Path | None = None, order_by: Path | None = None
) -> Report:
    """Test the maps of the model in a folder, or with ``order_by`` those of another one on it.

    :param trials: list whose ids are all in the data directory.
    :raises UserError: for what cannot be read, and for speakers, trials or lengths that do not fit.
    """
    utt2spk = dict(read_data_dir(data_dir).utt2spk)
    listed = _checked(trials, utt2spk, data_dir)
    folders = {order_by.resolve().name: order_by, OWN: model} if order_by else {RELEVANCE: model}
    subjects = {
        name: Subject(load_model(folder), data_dir, utt2spk, choices.allow_pipes) for name, folder in folders.items()
    }
    classes = classes_of(list(subjects.values()), choices.classes)
    tested = choose_tested(utt2spk, choices.per_speaker, classes == "data", choices.seed)
    _embed(list(subjects.values()), utt2spk, tested, classes, listed, choices)
    maps = [
        MapOrder(_name(name, explained, choices), subject, explained, choices.unit, choices.relevance)
        for name, subject in subjects.items()
        for explained in choices.explained
    ]
    asked = list(subjects.values())[-1]
    test = FaithfulnessTest(asked, maps, choices.fill, listed, choices.seed, choices.rows)
    measured, results = [], []
    for seconds in choices.durations:
        with Progress(f"taken apart at {seconds:g} s", len(tested)) as progress:
            measured.append(test.measure(tested, seconds, progress))
        results += results_of(measured[-1], utt2spk, choices.draws, choices.seed)
    about = {
        "model": str(model),
        "order_by": str(order_by) if order_by else None,
        "data": str(data_dir),
        "trials_list": str(trials) if trials else None,
        "classes": classes,
        "class_count": len(asked.model.head.speakers) if asked.model.head else 0,
    }
    return Report(about | _settings(choices), measured, results, utt2spk)


def _checked(path: Path | None, utt2spk: dict[str, str], data_dir: Path) -> Trials | None:
    """The trial list, whose ids must be in the data."""
    if path is None:
        return None
    trials = read_trials(path)
    join_check(trials, utt2spk, source=str(data_dir))
    return trials


def _settings(choices: Choices) -> dict[str, Any]:
    """For JSON, what ``about`` does not say already."""
    settings = asdict(choices)
    del settings["classes"], settings["durations"], settings["allow_pipes"]
    return settings


def _name(model: str, explained: Explained, choices: Choices) -> str:
    return model if len(choices.explained) == 1 else f"{model}:{explained}"


def _embed(
    subjects: Sequence[Subject],
    utt2spk: dict[str, str],
    tested: Sequence[str],
    classes: str,
    trials: Trials | None,
    choices: Choices,
) -> None:
    """Embed what classes, trials, explained quantities and baselines need, and take the classes."""
    for_classes = sort_ids(set(utt2spk) - set(tested))
    quantities = {explained.quantity for explained in choices.explained}
    needed = set(trials.enroll if trials else ())
    if classes == "data" or "average" in (choices.fill, *(explained.baseline for explained in choices.explained)):
        needed |= set(for_classes)
    if SELF in quantities:
        needed |= set(tested)
    if "enrolment" in quantities:
        needed |= set(utt2spk)
    with Progress("untouched embeddings", len(subjects) * len(needed)) as progress:
        for subject in subjects:
            subject.embed(sort_ids(needed), progress)
            if classes == "data":
                subject.enrol(for_classes)
