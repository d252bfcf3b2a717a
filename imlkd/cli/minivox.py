"""`imlkd minivox`: make the built-in corpus."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Sizes and hardness (YAML); without it, the usual ones.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the data directories and their audio.",
)
@click.option("--nj", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that speak at once.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one value of the config; may be repeated."
)
def minivox(config_file: Path | None, out_dir: Path, nj: int, overrides: tuple[str, ...]) -> None:
    """Make the built-in corpus: synthetic voices in drawn rooms, as three Kaldi data directories.

    The same config gives the same bytes on every x86-64 Linux. Voices already there and right are kept.
    """
    from imlkd.config import load_config
    from imlkd.corpora.minivox.corpus import MinivoxConfig, make_minivox

    made = make_minivox(load_config(MinivoxConfig, config_file, overrides), out_dir, nj)
    click.echo(
        f"minivox: {made.voices} voices, {made.utterances} utterances, {made.hours:.2f} h, {made.megabytes:.0f} MB,"
        f" {made.trials} trials in {out_dir}"
    )
    click.echo(f"minivox: sha256 {made.checksum}")
