"""`imlkd evaluate`: how good is a score file, how sure is that, and where should the threshold lie?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imlkd.cli.layout import say_layout
from imlkd.cli.measures import bounds, choices_of, drawn, measure_options

if TYPE_CHECKING:
    from imlkd.scoring.evaluate import Evaluation, Measure

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("scores", type=FILE)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, help="Speakers of the utterances, for the intervals; repeatable.")
@measure_options
@click.option("--json", "json_path", type=FILE, help="Also write everything as JSON (error rates as fractions).")
@click.option("--eer-input", type=FILE, help="Also write the input of Kaldi's compute-eer: <score> target|nontarget.")
@click.option("--bootstrap", type=click.IntRange(min=0), default=1000, help="Draws of the intervals; 0: none.")
def evaluate(
    scores: Path,
    trials_path: Path,
    utt2spk: tuple[Path, ...],
    json_path: Path | None,
    eer_input: Path | None,
    **options: Any,
) -> None:
    """EER (%) and normalised DCFs of a three-column score file SCORES against TRIALS.

    The 95 % intervals, of the measures and of the thresholds at which they are reached, come from a bootstrap over
    speakers and need --utt2spk.
    """
    from imlkd.corpora.trials import read_trials
    from imlkd.scoring.evaluate import evaluate_scores, read_scores, read_speakers, write_eer_input

    trials = read_trials(trials_path)
    say_layout(trials)
    values = read_scores(scores, trials)
    result = evaluate_scores(trials, values, read_speakers(utt2spk), choices_of(**options))
    if json_path:
        result.write_json(json_path)
    if eer_input:
        write_eer_input(eer_input, trials, values)
    click.echo(summary(result))


def summary(result: Evaluation) -> str:
    """The table that is printed."""
    from imlkd.scoring.metrics import format_eer_kaldi

    lines = [
        f"EER           {_row(result.eer, 100.0, '.2f', ' %')}",
        f"EER (Kaldi)   {format_eer_kaldi(result.eer_kaldi.value)} %  at score {result.eer_kaldi.threshold:.4f}",
        f"EER (ROCCH)   {100.0 * result.eer_rocch:.2f} %",
        *(_dcf_row("minDCF", p, measure) for p, measure in result.min_dcf.items()),
        *(_dcf_row("actDCF", p, measure) for p, measure in result.act_dcf.items()),
    ]
    if result.cllr and result.min_cllr is not None:
        lines.append(f"Cllr          {result.cllr.value:.4f}{bounds(result.cllr.interval, 1.0, '.4f')} bits")
        lines.append(f"minCllr       {result.min_cllr:.4f} bits")
    if (result.c_miss, result.c_fa) != (1.0, 1.0):
        lines.append(f"costs         {result.c_miss:g} a miss, {result.c_fa:g} a false alarm")
    lines.append(f"trials        {result.targets} target, {result.nontargets} nontarget")
    if result.draws:
        lines.append(drawn(result.draws, f"{result.speakers} speakers", result.interval, result.few_speakers))
    return "\n".join(lines)


def _dcf_row(name: str, p_target: float, measure: Measure) -> str:
    return f"{name}({p_target:g})".ljust(14) + _row(measure, 1.0, ".4f", "")


def _row(measure: Measure, scale: float, form: str, unit: str) -> str:
    value = f"{scale * measure.value:{form}}{unit}{bounds(measure.interval, scale, form)}"
    return f"{value}  at score {measure.threshold:.4f}{bounds(measure.threshold_interval, 1.0, '.4f')}"
