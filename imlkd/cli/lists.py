"""What commands that read a trial list share: how its ids are looked up, what is said of its layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imlkd.corpora.trials.id_mapping import IdMap
    from imlkd.corpora.trials.lists import Trials

id_map_option = click.option(
    "--id-map",
    metavar="auto|FILE",
    help="Look up ids of the list that are spelt otherwise elsewhere: by the rule that fits, or <id> <id elsewhere>.",
)
models_option = click.option(
    "--models", type=click.Path(path_type=Path), help="Models of several utterances, whose speakers they have."
)


def id_map_of(choice: str | None) -> IdMap:
    """The map that an option asks for, which says on stderr what it maps."""
    from imlkd.corpora.trials.id_mapping import IdMap

    return IdMap(choice, say)


def say(line: str) -> None:
    """A line on stderr."""
    click.echo(line, err=True)


def say_layout(trials: Trials) -> None:
    """One line on stderr for a list in another layout than Kaldi's."""
    from imlkd.corpora.trials.layouts import LAYOUTS

    if trials.layout != "kaldi":
        say(f"{trials.path}: read in the {trials.layout} layout: {LAYOUTS[trials.layout]}")
