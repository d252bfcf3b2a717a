"""`imlkd report`: stage 7."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("sets", type=PATH)
@click.argument("data", type=PATH)
@click.argument("exp", type=PATH)
@click.argument("models", nargs=-1, required=True, type=PATH)
@click.option("--command", default="", help="The command that made the results, for the record.")
def report(sets: Path, data: Path, exp: Path, models: tuple[Path, ...], command: str) -> None:
    """Print the result table of MODELS on the lists named in SETS, and write EXP/RESULTS.md."""
    from imlkd.reporting.stage import write_report

    click.echo(write_report(sets, data, exp, list(models), command))
