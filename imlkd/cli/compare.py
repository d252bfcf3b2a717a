"""`imlkd compare`: is one system better than another on the same trials?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imlkd.scoring.compare import Difference

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, required=True, help="Speakers of the utterances; repeatable.")
@click.option("--json", "json_path", type=FILE, help="Also write everything as JSON (error rates as fractions).")
@click.option("--bootstrap", type=click.IntRange(min=1), default=1000, help="Draws of speakers.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the draws.")
def compare(
    first: Path, second: Path, trials_path: Path, utt2spk: tuple[Path, ...], json_path: Path | None, bootstrap: int,
    seed: int,
) -> None:  # fmt: skip
    """EER (%) and minDCF of the score files FIRST and SECOND on TRIALS: difference, 95 % interval, p.

    Both systems are measured on the same draws of speakers. Below zero: FIRST has fewer errors.
    """
    from imlkd.corpora.trials import read_trials
    from imlkd.errors import UserError
    from imlkd.files import atomic_write_text
    from imlkd.scoring import compare as comparison
    from imlkd.scoring.evaluate import P_TARGETS, read_scores, read_speakers, speaker_trials

    trials = read_trials(trials_path)
    speakers = read_speakers(utt2spk)
    one, other = (speaker_trials(trials, read_scores(path, trials), speakers) for path in (first, second))
    result = comparison.compare(one, other, P_TARGETS, bootstrap, seed)
    if result is None:
        raise UserError(f"{trials_path}: no draw of its speakers has target and nontarget trials: raise --bootstrap")
    if json_path:
        atomic_write_text(json_path, json.dumps(dataclasses.asdict(result), indent=2) + "\n")
    click.echo(_row("EER", result.eer, 100.0, ".2f", " %"))
    for p_target, difference in result.min_dcf.items():
        click.echo(_row(f"minDCF({p_target:g})", difference, 1.0, ".4f", ""))
    mark = " (fewer than 20: the intervals are a hint only)" if result.few_speakers else ""
    click.echo(f"intervals     95 %, {result.draws} draws of {result.speakers} speakers{mark}")


def _row(name: str, found: Difference, scale: float, form: str, unit: str) -> str:
    low, high = scale * found.interval.low, scale * found.interval.high
    values = f"{scale * found.first:{form}} - {scale * found.second:{form}} = {scale * found.difference:+{form}}{unit}"
    return f"{name:13} {values}  [{low:+{form}}, {high:+{form}}]  p {found.p:.3g}"
