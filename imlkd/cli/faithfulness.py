"""`imlkd faithfulness`: does the order of a model's maps say what the model goes by?"""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
BASELINES = click.Choice(["mean", "silence", "average", "zero"])
config_option = click.option("--config", type=PATH, help="relevance.yaml; without it the defaults.")
set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of --config.")
memory_option = click.option("--memory", metavar="SIZE", help="Budget of gradients, such as 2G: `memory` of --config.")
quantity_help = (
    "What is explained: cosine, probability[:T], log-probability[:T] (temperature T), enrolment (cosine to another"
    " utterance of the speaker) or self (to the untouched utterance itself)"
)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("model", type=PATH)
@click.argument("data_dir", type=PATH)
@click.option("--trials", type=PATH, help="Trial list, ids of DATA_DIR: EER and target cosine as well.")
@click.option("--durations", default="1,2,3", help="Seconds, comma-separated: the middle of each utterance.")
@click.option("--order-by", type=PATH, help="Cross test: maps of this model order the frames that MODEL is shown.")
@click.option("--unit", type=click.Choice(["frame", "bin"]), default="frame", help="What is shown or hidden.")
@click.option("--quantity", "quantities", multiple=True, default=["cosine"], help=f"{quantity_help}; repeatable.")
@click.option("--baseline", "baselines", type=BASELINES, multiple=True,
              help="Where the path of the gradients begins (default: that of --config); average: over what is not"
              " tested; repeatable.")
@click.option("--fill", type=BASELINES, default="mean", help="What stands in the place of hidden units.")
@click.option("--classes", type=click.Choice(["auto", "head", "data"]), default="auto",
              help="Speakers to identify: those of MODEL's head, or of DATA_DIR, by the mean of half their utterances;"
              " auto: the head where it knows all of DATA_DIR.")
@click.option("--per-speaker", type=click.IntRange(0), default=2, help="Tested utterances a speaker at most, 0: all.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of utterances, random order, draws of speakers.")
@click.option("--bootstrap", type=click.IntRange(1), default=1000, help="Draws of speakers.")
@click.option("--rows", type=click.IntRange(1), default=32, help="Inputs at once.")
@click.option("--threads", type=click.IntRange(0), default=1, help="Threads, 0: all cores.")
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
@config_option
@set_option
@memory_option
@click.option("--json", "json_path", type=PATH, help="Also write curves, areas and intervals as JSON (fractions).")
def faithfulness(
    model: Path, data_dir: Path, trials: Path | None, durations: str, order_by: Path | None, unit: str,
    quantities: tuple[str, ...], baselines: tuple[str, ...], fill: str, classes: str, per_speaker: int, seed: int,
    bootstrap: int, rows: int, threads: int, allow_pipes: bool, config: Path | None, overrides: tuple[str, ...],
    memory: str | None, json_path: Path | None,
) -> None:
    """Test the maps of MODEL on DATA_DIR: show and hide frames in their order, and ask MODEL at every step.

    Insertion shows the most relevant frames first, deletion hides them first. Identification accuracy, cosine to the
    own class, and with --trials EER and target cosine against the untouched enrolment, as areas under the curves over
    the shares 0, 5 %, 10 %, 20 % ... 100 %, beside those of random and energy order, with 95 % intervals over speakers.
    """
    import json

    import torch

    from imlkd.attribution.faithfulness_run import Choices, faithfulness_of
    from imlkd.attribution.orders import Explained
    from imlkd.attribution.relevance import RelevanceConfig
    from imlkd.config import load_config
    from imlkd.files import atomic_write_text
    from imlkd.reporting.faithfulness import faithfulness_text

    settings = load_config(RelevanceConfig, config, with_memory(overrides, memory))
    origins = baselines or (settings.baseline,)
    explained = [Explained.parse(quantity, baseline) for quantity in quantities for baseline in origins]
    choices = Choices(
        seconds_of(durations), unit, fill, list(dict.fromkeys(explained)), classes, per_speaker, seed, bootstrap, rows,
        allow_pipes, settings,
    )
    if threads:
        torch.set_num_threads(threads)
    report = faithfulness_of(model, data_dir, choices, trials, order_by)
    if json_path:
        atomic_write_text(json_path, json.dumps(report.fields(), indent=1, allow_nan=False) + "\n")
    click.echo(faithfulness_text(report))


def with_memory(overrides: tuple[str, ...], memory: str | None) -> tuple[str, ...]:
    """The overrides of ``--set`` and the budget of ``--memory``."""
    return overrides if memory is None else (*overrides, f"memory={memory!r}")


def seconds_of(durations: str) -> list[float]:
    """``1,2.5`` -> seconds, each once; UserError where one is none."""
    from imlkd.errors import UserError

    found = []
    for part in durations.split(","):
        try:
            seconds = float(part)
        except ValueError:
            seconds = 0.0
        if not 0.01 <= seconds <= 3600.0:
            raise UserError(f"--durations {durations}: {part!r} is no duration from 0.01 to 3600 s")
        found.append(seconds)
    return list(dict.fromkeys(found))
