"""`imlkd marker`: what the stage scripts ask before and after their work; `imlkd join-scp`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

STALE = 3


def _marker_options(command: Any) -> Any:
    options = [
        click.argument("path", metavar="MARKER", type=click.Path(path_type=Path)),
        click.option("--from", "files", multiple=True, type=click.Path(path_type=Path), help="A file or folder used."),
        click.option("--data", multiple=True, type=click.Path(path_type=Path), help="A Kaldi data directory used."),
        click.option("--table", "tables", multiple=True, help="Tables of --data that count (default: those in use)."),
        click.option("--value", "values", multiple=True, metavar="KEY=VALUE", help="An option's value."),
        click.option("--code", multiple=True, metavar="MODULE", help="Module whose source, and imports, count."),
        click.option("--name", default="", help="How the stage is called in messages."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def marker() -> None:
    """Done markers: is a stage up to date, and what was it made from."""


@marker.command()
@_marker_options
@click.option("--force", is_flag=True, help="Run in any case.")
def check(
    path: Path,
    files: tuple[Path, ...],
    data: tuple[Path, ...],
    tables: tuple[str, ...],
    values: tuple[str, ...],
    code: tuple[str, ...],
    name: str,
    force: bool,
) -> None:
    """Leave with 0 when MARKER is up to date, else say why, remove it, and leave with 3."""
    from imlkd.done import DATA_TABLES, DoneMarker, Recipe
    from imlkd.files import remove_leftovers

    for value in values:
        if "=" not in value:
            raise click.UsageError(f"--value {value}: expected KEY=VALUE")
    pairs = dict(value.split("=", 1) for value in values)
    made_from = Recipe(list(files), list(data), pairs, list(code), tables or DATA_TABLES).digests()
    stage = DoneMarker(path)
    reason = "--force true" if force else stage.reason_to_run(made_from)
    if reason is None:
        click.echo(f"{name}: up to date")
        return
    click.echo(f"{name}: {reason}")
    remove_leftovers(path.parent)
    stage.begin(made_from, anew=force)
    raise click.exceptions.Exit(STALE)


@marker.command()
@click.argument("path", metavar="MARKER", type=click.Path(path_type=Path))
@click.option("--output", "outputs", multiple=True, type=click.Path(path_type=Path), help="A file that was made.")
@click.option("--command", default="", help="The command, for the record.")
def write(path: Path, outputs: tuple[Path, ...], command: str) -> None:
    """Write MARKER after the stage's work; the last thing a stage does."""
    from imlkd.done import DoneMarker

    DoneMarker(path).finish(list(outputs) or None, command)


@click.command("join-scp")
@click.argument("joined", type=click.Path(path_type=Path))
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
def join_scp(joined: Path, parts: tuple[Path, ...]) -> None:
    """Join the scp files PARTS of parallel jobs into JOINED, in C order."""
    from imlkd.kaldi_io import join_scps

    count = join_scps(list(parts), joined)
    click.echo(f"{joined}: {count} entries")
