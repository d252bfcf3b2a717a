"""`imlkd score`, `imlkd evaluate`, `imlkd speaker-means`: from embeddings to error rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imlkd.corpora.trials import Trials
    from imlkd.scoring.evaluate import Evaluation, Measure

FILE = click.Path(path_type=Path)
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


@click.command(context_settings=SETTINGS)
@click.option("--trials", "trials_path", type=FILE, required=True, help="Trial list (Kaldi's or VoxCeleb's layout).")
@click.option("--enroll-scp", type=FILE, required=True, help="xvector.scp or spk_xvector.scp of the enrolment side.")
@click.option("--test-scp", type=FILE, required=True, help="xvector.scp of the test side.")
@click.option("--out", type=FILE, required=True, help="Score file to write: <enroll> <test> <score>, in trial order.")
@click.option("--mean-scp", type=FILE, help="Subtract the mean of these embeddings (a training set's) from both sides.")
def score(trials_path: Path, enroll_scp: Path, test_scp: Path, out: Path, mean_scp: Path | None) -> None:
    """Score trials by the cosine of their embeddings (-1 to 1)."""
    from imlkd.corpora.trials import read_trials
    from imlkd.scoring.cosine import score_trials

    trials = read_trials(trials_path)
    _say_layout(trials)
    score_trials(trials, enroll_scp, test_scp, out, mean_scp)
    click.echo(f"{out}: {len(trials)} scores")


@click.command(context_settings=SETTINGS)
@click.argument("scores", type=FILE)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, help="Speakers of the utterances, for the intervals; repeatable.")
@click.option("--json", "json_path", type=FILE, help="Also write everything as JSON (error rates as fractions).")
@click.option("--eer-input", type=FILE, help="Also write the input of Kaldi's compute-eer: <score> target|nontarget.")
@click.option("--bootstrap", type=click.IntRange(min=0), default=1000, help="Draws of the intervals; 0: none.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the draws.")
def evaluate(
    scores: Path,
    trials_path: Path,
    utt2spk: tuple[Path, ...],
    json_path: Path | None,
    eer_input: Path | None,
    bootstrap: int,
    seed: int,
) -> None:
    """EER (%) and normalised minDCF of a three-column score file SCORES against TRIALS.

    The 95 % intervals come from a bootstrap over speakers and need --utt2spk.
    """
    from imlkd.corpora.trials import read_trials
    from imlkd.scoring.evaluate import evaluate_scores, read_scores, read_speakers, write_eer_input

    trials = read_trials(trials_path)
    _say_layout(trials)
    values = read_scores(scores, trials)
    result = evaluate_scores(trials, values, read_speakers(utt2spk), bootstrap, seed)
    if json_path:
        result.write_json(json_path)
    if eer_input:
        write_eer_input(eer_input, trials, values)
    click.echo(_summary(result))


@click.command(context_settings=SETTINGS)
@click.argument("spk2utt", type=FILE)
@click.argument("xvector_scp", type=FILE)
@click.argument("out_dir", metavar="OUTDIR", type=FILE)
@click.option("--max-missing", type=click.IntRange(min=0), default=0, help="Utterances that may lack an embedding.")
def speaker_means(spk2utt: Path, xvector_scp: Path, out_dir: Path, max_missing: int) -> None:
    """Average the embeddings of each speaker: OUTDIR/spk_xvector.{ark,scp} and OUTDIR/num_utts.ark."""
    from imlkd.scoring.speaker_means import write_speaker_means

    result = write_speaker_means(spk2utt, xvector_scp, out_dir, max_missing)
    click.echo(f"{out_dir}: {len(result.means)} speakers, {sum(result.num_utts.values())} utterances")
    if result.missing:
        click.echo(f"without an embedding: {len(result.missing)} utterances, first: {', '.join(result.missing[:5])}")


def _say_layout(trials: Trials) -> None:
    from imlkd.corpora.trials import LAYOUTS

    if trials.layout != "kaldi":
        click.echo(f"{trials.path}: read in the {trials.layout} layout: {LAYOUTS[trials.layout]}", err=True)


def _summary(result: Evaluation) -> str:
    from imlkd.scoring.metrics import format_eer_kaldi

    lines = [
        f"EER           {_row(result.eer, 100.0, '.2f', ' %')}",
        f"EER (Kaldi)   {format_eer_kaldi(result.eer_kaldi.value)} %",
        f"EER (ROCCH)   {100.0 * result.eer_rocch:.2f} %",
        *(f"minDCF({p:g})".ljust(14) + _row(measure, 1.0, ".4f", "") for p, measure in result.min_dcf.items()),
        f"trials        {result.targets} target, {result.nontargets} nontarget",
    ]
    if result.draws:
        mark = " (fewer than 20: the intervals are a hint only)" if result.few_speakers else ""
        lines.append(f"intervals     95 %, {result.draws} draws of {result.speakers} speakers{mark}")
    return "\n".join(lines)


def _row(measure: Measure, scale: float, form: str, unit: str) -> str:
    bounds = ""
    if measure.interval:
        bounds = f"  [{scale * measure.interval.low:{form}}, {scale * measure.interval.high:{form}}]"
    return f"{scale * measure.value:{form}}{unit}{bounds}  at score {measure.threshold:.4f}"
