"""`imlkd report`: stage 7, and two experiments side by side."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("sets", type=PATH, required=False)
@click.argument("data", type=PATH, required=False)
@click.argument("exp", type=PATH, required=False)
@click.argument("models", nargs=-1, type=PATH)
@click.option("--command", default="", help="The command that made the results, for the record.")
@click.option("--page", is_flag=True, help="Instead write the page of each model but the first, report/index.html.")
@click.option("--bootstrap", type=click.IntRange(1), default=1000, help="Draws of speakers, of --page and --compare.")
@click.option("--audio/--no-audio", default=True, help="Whether pages hold voices of the corpus.")
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
@click.option("--teacher-unscored", is_flag=True, help="The first of MODELS is a table that lacks the test sets.")
@click.option("--compare", nargs=2, type=PATH, metavar="EXP1 EXP2",
              help="Two models, or two folders of them, on the same trials: EXP1 less EXP2.")
@click.option("--data-dir", type=PATH, default=Path("data"), help="Folder of the prepared sets, of --compare.")
@click.option("--out", type=PATH, help="Also write --compare as a page, FILE.html.")
def report(
    sets: Path | None, data: Path | None, exp: Path | None, models: tuple[Path, ...], command: str, page: bool,
    bootstrap: int, audio: bool, allow_pipes: bool, teacher_unscored: bool, compare: tuple[Path, Path] | None,
    data_dir: Path, out: Path | None,
) -> None:  # fmt: skip
    """Print the result table of MODELS on the lists named in SETS, and write EXP/RESULTS.md.

    With --page their pages, with --compare two experiments side by side instead.
    """
    if compare is not None:
        from imlkd.reporting.page.compare import compare_experiments

        if sets is not None or page:
            raise click.UsageError("--compare EXP1 EXP2 goes without SETS DATA EXP MODELS and without --page")
        click.echo(compare_experiments(compare[0], compare[1], data_dir, bootstrap, out))
        return
    if sets is None or data is None or exp is None or not models:
        raise click.UsageError("SETS DATA EXP MODELS..., or --compare EXP1 EXP2")
    if page:
        from imlkd.reporting.page.stage import PageOptions, write_pages

        options = PageOptions(command, bootstrap, audio, allow_pipes, not teacher_unscored)
        for path in write_pages(sets, data, list(models), options):
            click.echo(path)
        return
    from imlkd.reporting.stage import write_report

    click.echo(write_report(sets, data, exp, list(models), command))
