"""`imlkd features`: stage 1, one job."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@click.option("--config", type=PATH, help="features.yaml; without it the defaults.")
@click.option("--job", type=click.IntRange(1), default=1, help="Number of this job, in the names of its files.")
@click.option("--progress", type=PATH, help="File to count in (default: a bar).")
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
@click.option("--save-config", type=PATH, help="Write the resolved configuration there and do nothing else.")
@click.option("--print-vad-scp", is_flag=True, help="Print the files of marks that are configured and do nothing else.")
@click.option("--print-sample-rate", is_flag=True, help="Print the configured rate (Hz) and do nothing else.")
def features(
    data_dir: Path, out: Path, config: Path | None, job: int, progress: Path | None, allow_pipes: bool,
    save_config: Path | None, print_vad_scp: bool, print_sample_rate: bool,
) -> None:
    """Compute log-mel features and speech activity of DATA_DIR into OUT (feats.JOB.ark, vad.JOB.ark, their scp)."""
    from imlkd.config import load_config
    from imlkd.config import save_config as save
    from imlkd.features.extract import FeaturesConfig, extract_features

    settings = load_config(FeaturesConfig, config)
    if print_sample_rate:
        click.echo(settings.fbank.sample_rate)
        return
    if print_vad_scp:
        click.echo(settings.vad_scp if settings.detector == "given" else "")
        return
    if save_config is not None:
        save(settings, save_config)
        return
    import torch

    from imlkd.attribution.segments import speech_marks

    torch.set_num_threads(1)  # the jobs are the parallelism
    count = extract_features(data_dir, settings, out, job, progress, allow_pipes, speech_marks)
    click.echo(f"{out}: {count} utterances")
