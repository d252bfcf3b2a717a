"""`imlkd doctor`: what would fail here, and the remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from imlkd.cli.listening import PATH, SETTINGS, json_option, say, say_json


@click.command(context_settings=SETTINGS)
@click.option("--folder", type=PATH, default=".", help="Where results would go: its free space is looked at.")
@click.option("--rate/--no-rate", default=True, help="Measure how fast matrices are multiplied (a second or two).")
@json_option
def doctor(folder: Path, rate: bool, as_json: bool) -> None:
    """Look at Python, packages, machine, teachers and k2; say what would fail, and the remedy.

    Works without torch, too. Exit status: 1 when something that is there does not work, else 0.
    """
    from imlkd.doctor.examination import examine
    from imlkd.errors import UserError

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give one that is there")
    failing = []
    for finding in examine(folder, rate):
        if as_json:
            say_json(finding.to_dict())
        else:
            say(finding.to_text())
        if finding.state == "fails":
            failing.append(finding.topic)
    if failing:
        click.echo(f"would fail: {', '.join(failing)}", err=True)
        sys.exit(1)
