"""`imlkd export`: a finished model as files for use elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="EXP", type=PATH)
@click.option(
    "--format", "formats", default="onnx",
    help="onnx, fp16, int8, features, safetensors, torchscript, by commas.",
)
@click.option("--out", type=PATH, help="Folder to write to (default: EXP/export).")
@click.option("--sets", type=PATH, help="data/CORPUS.sets.yaml: for error rates, data hash, and int8's calibration.")
@click.option("--licence", default="", help="Licence of the weights, for card and metadata.")
@click.option("--max-loss", default="5%", help="EER that a variant may lose: a share of float32's, or as 0.005.")
@click.option("--accept-loss", is_flag=True, help="Keep a variant that loses more.")
@click.option("--utterances", type=click.IntRange(1), default=32, help="Training utterances that int8 looks at.")
@click.option("--bootstrap", type=click.IntRange(0), default=1000, help="Draws of speakers for the intervals.")
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
def export(
    folder: Path, formats: str, out: Path | None, sets: Path | None, licence: str, max_loss: str, accept_loss: bool,
    utterances: int, bootstrap: int, allow_pipes: bool,
) -> None:
    """Export the model in EXP: graphs with the front-end inside, weights, and a model card."""
    import torch

    from imlkd.export.stage import ExportOptions, export_model
    from imlkd.export.variants import MaxLoss

    torch.set_num_threads(1)
    names = tuple(dict.fromkeys(filter(None, formats.split(","))))
    options = ExportOptions(
        names, sets, licence, MaxLoss.parse(max_loss), accept_loss, utterances, bootstrap, allow_pipes
    )
    click.echo(export_model(folder, out or folder / "export", options))
