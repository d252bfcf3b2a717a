"""`imlkd evaluate`: how good is a score file, how sure is that, and where should the threshold lie?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imlkd.cli.lists import id_map_of, id_map_option, models_option, say_layout
from imlkd.cli.measures import bounds, choices_of, drawn, measure_options

if TYPE_CHECKING:
    from imlkd.scoring.conditions import Condition
    from imlkd.scoring.evaluate import Evaluation, Measure

FILE = click.Path(path_type=Path)
BINS = (2.0, 4.0, 8.0)  # seconds


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("scores", type=FILE)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, help="Speakers of the utterances, for the intervals; repeatable.")
@measure_options
@click.option("--json", "json_path", type=FILE, help="Also write everything as JSON (error rates as fractions).")
@click.option("--eer-input", type=FILE, help="Also write the input of Kaldi's compute-eer: <score> target|nontarget.")
@click.option("--bootstrap", type=click.IntRange(min=0), default=1000, help="Draws of the intervals; 0: none.")
@click.option(
    "--by",
    metavar="NAME=FILE",
    multiple=True,
    help="Also by condition: NAME is gender, corpus, noise ..., or duration (seconds) or recording (same or cross); "
    "FILE an utt2* or spk2* table; repeatable.",
)
@click.option("--bins", type=click.FloatRange(min=0, min_open=True), multiple=True, default=BINS, help="Of durations.")
@click.option("--det", type=FILE, help="Also draw the DET curve, as PNG.")
@click.option("--points", type=FILE, help="Also write the ROC's corners: <threshold> <false_alarm> <miss>.")
@models_option
@id_map_option
def evaluate(
    scores: Path, trials_path: Path, utt2spk: tuple[Path, ...], json_path: Path | None, eer_input: Path | None,
    by: tuple[str, ...], bins: tuple[float, ...], det: Path | None, points: Path | None, models: Path | None,
    id_map: str | None, **options: Any,
) -> None:  # fmt: skip
    """EER (%) and normalised DCFs of a three-column score file SCORES against TRIALS.

    The 95 % intervals, of the measures and of the thresholds at which they are reached, come from a bootstrap over
    speakers and need --utt2spk.
    """
    tables = tables_of(by)
    from imlkd.corpora.trials.lists import read_trials
    from imlkd.files import atomic_write_text
    from imlkd.reporting.det import draw_det, write_points
    from imlkd.scoring.conditions import conditions_of, evaluate_conditions, read_values
    from imlkd.scoring.evaluate import evaluate_scores, write_eer_input
    from imlkd.scoring.score_file import read_scores
    from imlkd.scoring.speakers import read_speakers, speakers_by_id

    trials, ids, choices = read_trials(trials_path), id_map_of(id_map), choices_of(**options)
    say_layout(trials)
    values = read_scores(scores, trials)
    speakers = speakers_by_id(trials, read_speakers(utt2spk), models, ids) if utt2spk else {}
    result = evaluate_scores(trials, values, speakers, choices)
    found = []
    for name, paths in tables.items():
        masks = conditions_of(name, trials, read_values(name, paths, trials, speakers, models, ids), sorted(bins))
        found += evaluate_conditions(name, masks, trials, values, speakers, choices)
    lists = values[trials.is_target], values[~trials.is_target]
    if json_path:
        atomic_write_text(json_path, as_json(result, found))
    if eer_input:
        write_eer_input(eer_input, trials, values)
    if points:
        write_points(points, *lists)
    if det:
        draw_det(det, {str(scores): lists}, choices.costs.p_targets[0])
    click.echo("\n".join([summary(result), *map(condition_row, found)]))


def tables_of(by: tuple[str, ...]) -> dict[str, list[Path]]:
    """Files by condition, as the options name them."""
    tables: dict[str, list[Path]] = {}
    for text in by:
        name, _, path = text.partition("=")
        if not name or not path:
            raise click.BadParameter(f"{text!r}: expected NAME=FILE, as gender=data/test/spk2gender", param_hint="--by")
        tables.setdefault(name, []).append(Path(path))
    return tables


def as_json(result: Evaluation, conditions: list[Condition]) -> str:
    """One object: the fields of the evaluation, and with conditions those of each by name and value."""
    if not conditions:
        return result.to_json()
    by: dict[str, dict[str, Any]] = {}
    for one in conditions:
        by.setdefault(one.name, {})[one.value] = one.fields()
    return json.dumps({**result.fields(), "conditions": by}, indent=2, allow_nan=False) + "\n"


def condition_row(one: Condition) -> str:
    """A line of the table."""
    head = f"{one.name} {one.value}".ljust(25)
    counts = f"{one.targets} target, {one.nontargets} nontarget"
    if one.evaluation is None:
        return f"{head} no error rate: {counts}"
    rate = f"EER {100.0 * one.evaluation.eer.value:.2f} %{bounds(one.evaluation.eer.interval, 100.0, '.2f')}"
    costs = [
        f"minDCF({p:g}) {measure.value:.4f}{bounds(measure.interval, 1.0, '.4f')}"
        for p, measure in one.evaluation.min_dcf.items()
    ]
    mark = "  (fewer than 20 speakers)" if one.evaluation.few_speakers else ""
    return "  ".join([head, rate, *costs[:1], counts]) + mark


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
