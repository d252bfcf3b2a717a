"""`imlkd explain`: pictures and numbers of what carries the speaker in recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imlkd.cli.faithfulness import BASELINES, config_option, memory_option, set_option, with_memory

if TYPE_CHECKING:
    from torch import Tensor

    from imlkd.attribution.orders import Explained
    from imlkd.attribution.quantities import Target
    from imlkd.models.speaker_model import SpeakerModel

PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("wavs", metavar="WAV...", nargs=-1, required=True, type=PATH)
@click.option("--model", "folder", type=PATH, required=True, help="Folder of a model, as stages 2 and 4 leave it.")
@click.option("--enroll", type=PATH, multiple=True, help="WAV of the speaker: cosine to the mean of them; repeatable.")
@click.option("--speaker", help="Speaker of the model's head, for the cosine to that class.")
@click.option("--quantity", default="cosine", help="Or, with --speaker, [log-]probability[:T] at temperature T.")
@click.option("--baseline", type=BASELINES,
              help="Where the path of the gradients begins; average: over all WAVs given (default: that of --config).")
@click.option("--fill", type=BASELINES, default="mean", help="What stands in the place of hidden frames.")
@click.option("--draws", type=click.IntRange(1), default=10, help="Random orders that are averaged.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the random orders.")
@click.option("--out", type=PATH, default=Path("."), help="Folder of the pictures, NAME.explain.png each.")
@click.option("--threads", type=click.IntRange(0), default=1, help="Threads, 0: all cores.")
@config_option
@set_option
@memory_option
def explain(
    wavs: tuple[Path, ...], folder: Path, enroll: tuple[Path, ...], speaker: str | None, quantity: str,
    baseline: str | None, fill: str, draws: int, seed: int, out: Path, threads: int, config: Path | None,
    overrides: tuple[str, ...], memory: str | None,
) -> None:
    """Explain recordings: NAME.explain.png each, and a line of JSON on stdout.

    The picture shows the spectrogram, the relevance over windows of each duration (segments.durations of --config, in
    seconds) and the full recording, speech, evidence, and the explained quantity as frames of 10 ms are inserted and
    deleted in the order of relevance, of energy and of chance. Beside each map stands how far it adds up. Explained is
    the cosine to --enroll or --speaker; without either, to the untouched recording itself.
    """
    import json

    import torch

    from imlkd.attribution.baselines import baseline_of
    from imlkd.attribution.curves import distinct
    from imlkd.attribution.relevance import RelevanceConfig
    from imlkd.attribution.wav_explanation import Request, explain_waveform, windows_of
    from imlkd.config import load_config
    from imlkd.errors import UserError
    from imlkd.features.speech import read_file
    from imlkd.files import make_dir
    from imlkd.models.store import load_model
    from imlkd.progress import Progress
    from imlkd.reporting.explanation import save_picture

    if threads:
        torch.set_num_threads(threads)
    pictures = {wav: out / f"{wav.stem}.explain.png" for wav in wavs}
    if len(set(pictures.values())) < len(wavs):
        raise UserError("two WAVs have one name, and so one picture: explain them into two folders (--out)")
    settings = load_config(RelevanceConfig, config, with_memory(overrides, memory))
    settings.check()
    baseline = baseline or settings.baseline
    model = load_model(folder)
    rate = model.frontend.sample_rate
    heard = {wav: read_file(wav, rate) for wav in dict.fromkeys((*wavs, *enroll))}
    explained, target, about = asked_of(model, speaker, quantity, baseline, [heard[wav] for wav in enroll])
    origin, shown = (
        baseline_of(name, model, map(model.frontend, heard.values()) if name == "average" else ())
        for name in (baseline, fill)
    )
    request = Request(explained, target, about, origin, shown, settings, draws, seed)
    for wav in wavs:
        windows = distinct(windows_of(str(wav), heard[wav], rate, settings))
        with Progress(f"explain {wav.name}", len(windows)) as progress:
            found = explain_waveform(model, str(wav), heard[wav], request, progress)
        make_dir(out)
        save_picture(found, pictures[wav])
        numbers = {**found.fields(), "model": str(folder), "picture": str(pictures[wav])}
        click.echo(json.dumps(numbers, allow_nan=False))


def asked_of(
    model: SpeakerModel, speaker: str | None, quantity: str, baseline: str, enrolled: Sequence[Tensor]
) -> tuple[Explained, Target | None, str]:
    """What is explained, to which target, and the target in words.

    :raises UserError: where the options do not go together.
    """
    import torch

    from imlkd.attribution.orders import SELF, TEMPERATURES, Explained
    from imlkd.errors import UserError

    if speaker is not None:
        if enrolled:
            raise UserError("--speaker and --enroll name two targets: give one")
        explained = Explained.parse(quantity, baseline)
        if explained.quantity not in ("cosine", *TEMPERATURES):
            raise UserError(f"--quantity {quantity} is of no class: leave --speaker out")
        return explained, speaker, f"speaker {speaker}"
    if quantity != "cosine":
        raise UserError(f"--quantity {quantity} is of a class: name it with --speaker")
    if not enrolled:
        return Explained(SELF, baseline=baseline), None, "its own untouched embedding"
    mean = torch.stack([model.embed(waveform) for waveform in enrolled]).mean(0)
    return Explained("enrolment", baseline=baseline), mean, f"{len(enrolled)} enrolled"
