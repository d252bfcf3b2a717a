"""What a command says of a trial list that is not in Kaldi's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imlkd.corpora.trials import Trials


def say_layout(trials: Trials) -> None:
    """One line on stderr for a list in another layout."""
    from imlkd.corpora.trials import LAYOUTS

    if trials.layout != "kaldi":
        click.echo(f"{trials.path}: read in the {trials.layout} layout: {LAYOUTS[trials.layout]}", err=True)
