"""`imlkd methods`: every distillation method, what it needs and where it comes from."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def methods(as_json: bool) -> None:
    """What --methods of run.sh takes, alone or put together with +: imlkd+ig-match."""
    from imlkd.distillation.catalogue import rows

    found = rows()
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
        return
    titles = {"name": "method", "needs": "needs", "what": "what"}
    name, needs = (max(len(row[key]) for row in [titles, *found]) for key in ("name", "needs"))
    for row in [titles, *found]:
        click.echo(f"{row['name']:{name}}  {row['needs']:{needs}}  {row['what']}")
