"""What a student's maps have to do with its teacher's: agreement of their relevance, and areas under their curves.

A study's main rows are asked, the first seed of each fold, on held-out speakers whose classes are means of other
utterances. What was found lies beside the records, one small JSON a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from imlkd.attribution.faithfulness_run import OWN, Choices, Report, faithfulness_of
from imlkd.attribution.orders import ENERGY, RANDOM
from imlkd.attribution.perturbation import MODES
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.config import load_config
from imlkd.files import atomic_write_text, make_dir, parse_json
from imlkd.study.execute import Places
from imlkd.study.plan import Run, StudyConfig
from imlkd.study.search import planned

SEED = 1
MEASURE = "cosine"  # to the own class
Found = dict[str, dict[str, float]]


def wanted(config: StudyConfig, places: Places) -> list[Run]:
    """Runs of the main rows that have a record and no maps yet."""
    runs = [run for run in planned(config, places.file, places.results) if run.row.label in config.main]
    return [
        run
        for run in runs
        if run.seed == SEED and (places.records / f"{run.name}.json").is_file() and not _is_done(run, places)
    ]


def _is_done(run: Run, places: Places) -> bool:
    path = places.maps / f"{run.name}.json"
    return path.is_file() and parse_json(path.read_text(encoding="utf-8"))["settings"] == run.settings()


def measure_maps(config: StudyConfig, places: Places, run: Run, per_speaker: int) -> None:
    """Explain held-out utterances by a run's student and its teacher, and write what they have in common.

    :param per_speaker: utterances of each held-out speaker.
    :raises UserError: when the student is not in ``work`` any more.
    """
    model = places.student(run)
    teacher, data = places.teacher(run.fold, config.teacher), places.fold(run.fold) / "data" / "held"
    relevance = load_config(RelevanceConfig, Path(config.conf) / "relevance.yaml")
    choices = Choices(classes="data", per_speaker=per_speaker, draws=1, relevance=relevance)
    report = faithfulness_of(model, data, choices, order_by=teacher)
    found = {"settings": run.settings(), "durations": summary(report)}
    make_dir(places.maps)
    atomic_write_text(places.maps / f"{run.name}.json", json.dumps(found, indent=1) + "\n")


def summary(report: Report) -> Found:
    """By duration: ``agreement`` (Spearman) of the student's and the teacher's relevance, and areas under the curves
    of the cosine to the own class, ``insertion`` and ``deletion`` in the student's own order and in its controls'."""
    found: Found = {}
    for one in report.measured:
        own = one.orders.index(OWN)
        found[f"{one.seconds:g}"] = {"agreement": float(one.agreement[own, 0])} | {
            f"{result.mode}_{order}": result.areas[order]
            for result in report.results
            if result.seconds == one.seconds and result.measure == MEASURE
            for order in (OWN, ENERGY, RANDOM)
        }
    return found


def maps_table(config: StudyConfig, student: str, results: Path) -> Iterator[str]:
    """Means over the folds, a line a main row; nothing where no maps were measured."""
    rows = {label: _of_row(label, student, results) for label in config.main}
    rows = {label: found for label, found in rows.items() if found}
    if not rows:
        return
    durations = sorted({duration for found in rows.values() for duration in found[0]}, key=float)
    yield (
        "Maps of the main rows' students: rank correlation of their relevance with their teacher's, and areas under"
        f" the curves of the cosine to the own class (own order less random order: insertion / deletion); mean over"
        f" {max(map(len, rows.values()))} folds."
    )
    yield ""
    head = [f"agreement {one} s" for one in durations] + [f"areas {one} s" for one in durations]
    yield f"| row | {' | '.join(head)} |"
    yield "|" + "---|" * (1 + len(head))
    for label, found in rows.items():
        cells = [f"{_mean(found, one, 'agreement'):.2f}" for one in durations]
        cells += [" / ".join(f"{_gap(found, one, mode):+.3f}" for mode in MODES) for one in durations]
        yield f"| {label} | {' | '.join(cells)} |"


def _of_row(label: str, student: str, results: Path) -> list[Found]:
    paths = sorted((results / "maps").glob(f"{label}.{student}.f*.s{SEED}.json"))
    return [parse_json(path.read_text(encoding="utf-8"))["durations"] for path in paths]


def _mean(found: Sequence[Found], duration: str, name: str) -> float:
    return float(np.mean([one[duration][name] for one in found]))


def _gap(found: Sequence[Found], duration: str, mode: str) -> float:
    return _mean(found, duration, f"{mode}_{OWN}") - _mean(found, duration, f"{mode}_{RANDOM}")
