"""Stage 7: a page for every student of a run, ``report/index.html`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from imlkd.corpora.fingerprint import data_hash
from imlkd.corpora.sets import RecipeSets, read_sets
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model
from imlkd.progress import Progress
from imlkd.reporting.inputs import targets_config
from imlkd.reporting.page import charts
from imlkd.reporting.page.document import write_page
from imlkd.reporting.page.exported import export_tables
from imlkd.reporting.page.learning import Learning, learning_of
from imlkd.reporting.page.listening import Clips, HardTrial, hardest
from imlkd.reporting.page.provenance import provenance_of
from imlkd.reporting.page.relevance import Explainer, Explanations
from imlkd.reporting.page.scored import BASELINE, Gap, Scored, read_scored, result_table
from imlkd.reporting.page.tables import Cell, Table
from imlkd.reporting.results import Row, rows_of

PAGE = "report/index.html"


@dataclass(frozen=True)
class PageOptions:
    """How.

    :param command: that made the results.
    :param draws: of speakers, for intervals.
    :param audio: whether voices of the corpus go into the page.
    :param teacher_scored: False where it is a table of embeddings that lacks the test sets.
    """

    command: str = ""
    draws: int = 1000
    audio: bool = True
    allow_pipes: bool = False
    teacher_scored: bool = True


@dataclass(frozen=True)
class GapPart:
    """The gap closed by each student on one list.

    :param missing: why there is no chart; empty with one.
    """

    gaps: Sequence[Gap]
    chart: Markup | None
    missing: str


@dataclass(frozen=True)
class ListPart:
    """What a page says of one trial list."""

    name: str
    results: Table
    det: Markup
    histogram: Markup
    gaps: GapPart
    hardest: Sequence[HardTrial]


@dataclass
class Run:
    """A finished run, read once for all pages.

    :param models: folders, the teacher first.
    :param taught: the teacher's training; None for an imported one.
    """

    sets: RecipeSets
    data: Path
    models: Sequence[Path]
    options: PageOptions
    scored: Mapping[str, Scored]
    rows: Mapping[str, list[Row]]
    hashes: Mapping[str, str]
    gaps: Mapping[str, GapPart]
    taught: tuple[Learning, Markup] | None
    explainer: Explainer | None = None
    networks: dict[str, SpeakerModel] = field(default_factory=dict)

    @property
    def teacher(self) -> Path:
        return self.models[0]

    def network(self, folder: Path) -> SpeakerModel:
        """Loaded once."""
        if folder.name not in self.networks:
            self.networks[folder.name] = load_model(folder)
        return self.networks[folder.name]


def write_pages(sets_path: Path, data: Path, models: Sequence[Path], options: PageOptions) -> list[Path]:
    """Write the page of every model but the first, the teacher.

    :raises UserError: where stage 6 has not run, or something it left cannot be read.
    """
    run = read_run(sets_path, data, models, options)
    written = []
    with Progress("pages", len(models) - 1) as progress:
        for folder in models[1:]:
            write_page(folder / PAGE, "student.html", **student_page(run, folder))
            written.append(folder / PAGE)
            progress.update()
    return written


def read_run(sets_path: Path, data: Path, models: Sequence[Path], options: PageOptions) -> Run:
    """What all pages share."""
    sets = read_sets(sets_path)
    with_scores = list(models if options.teacher_scored else models[1:])
    folders = {folder.name: folder for folder in with_scores}
    scored = {name: read_scored(data, folders, name, options.draws) for name in sets.lists}
    hashes = {name: data_hash(data / name, options.allow_pipes) for name in
              dict.fromkeys([sets.teacher, sets.train, *sets.tests])}  # fmt: skip
    gaps = {name: gaps_of(one, models) for name, one in scored.items()}
    rows = rows_of(with_scores, sets.lists)
    return Run(sets, data, models, options, scored, rows, hashes, gaps, training_of(models[0]))


def gaps_of(scored: Scored, models: Sequence[Path]) -> GapPart:
    """The gap closed by each method, or why there is none."""
    baseline = next((folder.name for folder in models[1:] if folder.name.endswith(f"_{BASELINE}")), None)
    if baseline is None:
        return GapPart([], None, f"No student was trained without a teacher (method {BASELINE}): no gap to measure.")
    if models[0].name not in scored.scores:
        return GapPart([], None, f"The teacher {models[0].name} has no scores here: no gap to measure.")
    found = scored.gaps(baseline, models[0].name)
    if any(gap.closed is None for gap in found):
        return GapPart(found, None, f"The teacher is no better than {baseline} here: there is no gap to close.")
    if not found:
        return GapPart([], None, f"No student beside {baseline}.")
    return GapPart(found, charts.gap_chart(scored.name, found), "")


def training_of(folder: Path) -> tuple[Learning, Markup] | None:
    """The curves of a training and their chart."""
    found = learning_of(folder)
    return (found, charts.learning_chart(found)) if found else None


def student_page(run: Run, folder: Path) -> dict[str, Any]:
    """All that ``student.html`` asks for."""
    clips = Clips(run.data, run.network(folder).frontend.sample_rate, run.options.audio, run.options.allow_pipes)
    explained = explain(run, folder, clips)
    tables, files = export_tables(folder)
    return {
        "name": folder.name,
        "teacher": run.teacher.name,
        "lists": [list_part(run, run.scored[name], folder.name, clips) for name in run.sets.lists],
        "learning": [one for one in (training_of(folder), run.taught) if one],
        "explained": explained,
        "perturbed": perturbed(explained),
        "areas": area_table(explained),
        "exports": tables,
        "files": files,
        "provenance": provenance_of(folder, run.models, run.hashes, run.options.command),
        "with_audio": run.options.audio,
    }


def list_part(run: Run, scored: Scored, model: str, clips: Clips) -> ListPart:
    """One trial list on the page of ``model``."""
    paired = scored.against_others(model)
    gaps = run.gaps[scored.name]
    own = scored.by_speaker[model]
    return ListPart(
        scored.name,
        result_table(run.rows[scored.name], paired, gaps.gaps),
        charts.det_chart(scored.name, scored.targets, model),
        charts.histogram_chart(scored.name, model, own.target, own.nontarget),
        gaps,
        hardest(scored, model, clips),
    )


def explain(run: Run, folder: Path, clips: Clips) -> Explanations:
    """Teacher and student on recordings of the first list; the student alone where the teacher gives no gradients."""
    if run.explainer is None:
        name = run.sets.lists[0]
        targets = targets_config(run.teacher, run.sets)
        run.explainer = Explainer(run.scored[name].trials, clips, name.partition("/")[0], targets)
    networks = {one.name: run.network(one) for one in (run.teacher, folder)}
    opaque = [f"{name}: it gives no gradients" for name, network in networks.items() if network.is_opaque]
    found = run.explainer.explained({name: one for name, one in networks.items() if not one.is_opaque}, clips)
    return replace(found, missing="; ".join([*opaque, *([found.missing] if found.missing else [])]))


def perturbed(explained: Explanations) -> list[tuple[str, Markup]]:
    """A chart of insertion and deletion for each model."""
    return [
        (model, charts.perturbation_chart(f"insertion and deletion, {model}", curves))
        for model, curves in explained.curves.items()
    ]


def area_table(explained: Explanations) -> Table | None:
    """Areas under these curves."""
    rows = [
        [Cell(model), Cell(mode), *(Cell(f"{areas[order]:.3f}", areas[order]) for order in areas)]
        for model, modes in explained.areas.items()
        for mode, areas in modes.items()
    ]
    if not rows:
        return None
    orders = list(next(iter(next(iter(explained.areas.values())).values())))
    return Table(["model", "mode", *(f"area, by {order}" for order in orders)], rows)
