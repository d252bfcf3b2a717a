"""`imlkd study`: many trainings side by side, and what can be said of their differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def _places(command: F) -> F:
    options = [
        click.option("--data", type=PATH, required=True, help="Kaldi data directory of all training speakers."),
        click.option("--work", type=PATH, default="study", show_default=True, help="What can be made again."),
        click.option("--results", type=PATH, required=True, help="Folds, records and tables, to be kept."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def study() -> None:
    """Compare methods over folds and seeds."""


@study.command()
@click.argument("file", type=PATH)
@_places
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Trainings at a time, a core each.")
def run(file: Path, data: Path, work: Path, results: Path, jobs: int) -> None:
    """Make the folds and every run of FILE (YAML) that is missing, then the table."""
    from imlkd.study.execute import Places, execute, missing_runs
    from imlkd.study.folds import write_folds
    from imlkd.study.plan import read_study
    from imlkd.study.search import planned

    config, places = read_study(file), Places(file, data, work, results)
    for line in write_folds(data, results, config.folds, config.targets, config.nontargets, config.split_seed):
        click.echo(line)
    click.echo(f"{file}: {len(missing_runs(config, places))} of {len(planned(config, file, results))} runs are missing")
    execute(config, places, jobs)
    _write(file, results)


@study.command()
@click.argument("file", type=PATH)
@_places
@click.option("--run", "name", required=True, help="Its name: ROW.STUDENT.fFOLD.sSEED.")
def one(file: Path, data: Path, work: Path, results: Path, name: str) -> None:
    """Make one run of FILE, whose fold is prepared."""
    from imlkd.errors import UserError
    from imlkd.study.confirm import ALL_SPEAKERS
    from imlkd.study.execute import Places, run_one, train_one
    from imlkd.study.plan import read_study
    from imlkd.study.search import planned

    config, places = read_study(file), Places(file, data, work, results)
    runs = [*planned(config, file, results), *planned(config, file, results, [ALL_SPEAKERS])]
    found = [run for run in runs if run.name == name]
    if not found:
        raise UserError(f"{file}: has no run {name}: they are called ROW.STUDENT.fFOLD.sSEED")
    if found[0].fold == ALL_SPEAKERS:
        train_one(config, places, found[0])
    else:
        run_one(config, places, found[0])


@study.command()
@click.argument("file", type=PATH)
@_places
@click.option("--test", required=True, metavar="DIR[,DIR...]", help="Kaldi data directories of other speakers.")
@click.option("--trials", required=True, metavar="FILE[,FILE...]", help="A list of each.")
@click.option("--rows", required=True, metavar="LABEL[,LABEL...]", help="Rows of the study that are to be reported.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Trainings at a time, a core each.")
def confirm(file: Path, data: Path, work: Path, results: Path, test: str, trials: str, rows: str, jobs: int) -> None:
    """Train rows of FILE on all speakers and measure each once on test lists, into RESULTS/confirm."""
    from imlkd.errors import UserError
    from imlkd.study.confirm import confirm as confirmed
    from imlkd.study.execute import Places
    from imlkd.study.plan import read_study

    tests, lists = [Path(one) for one in test.split(",")], [Path(one) for one in trials.split(",")]
    if len(tests) != len(lists):
        raise UserError(f"--trials: {len(lists)} lists for {len(tests)} directories of --test: give one for each")
    pairs = dict(zip(tests, lists, strict=True))
    for folder in confirmed(read_study(file), Places(file, data, work, results), pairs, rows.split(","), jobs):
        click.echo((folder / "RESULTS.md").read_text())


@study.command()
@click.argument("file", type=PATH)
@_places
@click.option("--per-speaker", type=click.IntRange(1), default=1, show_default=True, help="Utterances of each speaker.")
def maps(file: Path, data: Path, work: Path, results: Path, per_speaker: int) -> None:
    """Explain held-out utterances by the students of FILE's main rows and by their teachers, and compare the maps."""
    from imlkd.progress import Progress
    from imlkd.study.execute import Places
    from imlkd.study.maps import measure_maps, wanted
    from imlkd.study.plan import read_study

    config, places = read_study(file), Places(file, data, work, results)
    runs = wanted(config, places)
    with Progress("maps", len(runs)) as progress:
        for run in runs:
            measure_maps(config, places, run, per_speaker)
            progress.update(1, run.name)
    _write(file, results)


@study.command()
@click.argument("file", type=PATH)
@click.option("--results", type=PATH, required=True, help="Folder that `imlkd study run` wrote.")
def table(file: Path, results: Path) -> None:
    """Write RESULTS.md, results.json and report/index.html from the records that are there, and print the former."""
    click.echo(_write(file, results))


def _write(file: Path, results: Path) -> str:
    import json

    from imlkd.files import atomic_write_text
    from imlkd.study.page import write_study_page
    from imlkd.study.plan import read_study
    from imlkd.study.results import read_results
    from imlkd.study.table import as_json, markdown

    found = read_results(read_study(file), file, results)
    text = markdown(found)
    atomic_write_text(results / "RESULTS.md", text)
    atomic_write_text(results / "results.json", json.dumps(as_json(found), indent=1) + "\n")
    write_study_page(found)
    return text
