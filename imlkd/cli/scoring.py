"""`imlkd score`, `imlkd speaker-means`: what is made of embeddings."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from imlkd.cli.lists import id_map_of, id_map_option, say

FILE = click.Path(path_type=Path)
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


@click.command(context_settings=SETTINGS)
@click.option("--trials", "trials_path", type=FILE, required=True, help="Trial list, in any layout of `imlkd trials`.")
@click.option("--enroll-scp", type=FILE, required=True, help="xvector.scp or spk_xvector.scp of the enrolment side.")
@click.option("--test-scp", type=FILE, required=True, help="xvector.scp of the test side.")
@click.option("--out", type=FILE, required=True, help="Score file to write: <enroll> <test> <score>, in trial order.")
@click.option("--mean-scp", type=FILE, help="Subtract the mean of these embeddings (a training set's) from both sides.")
@click.option("--backend", type=click.Choice(["cosine", "plda"]), default="cosine", help="What compares embeddings.")
@click.option("--plda", type=FILE, help="Folder that `imlkd plda fit` or Kaldi left, or a bare file `plda`.")
@click.option("--models", type=FILE, help="Models of several utterances: <model> <utterance> ..., or NIST's table.")
@id_map_option
@click.option("--num-utts", type=FILE, help="num_utts.ark: how many utterances an enrolment embedding is the mean of.")
@click.option(
    "--norm",
    type=click.Choice(["none", "z", "t", "s", "as"]),
    default="none",
    help="Normalisation by a cohort: of the enrolment side, of the test side, of both, of both by the best --top-k.",
)
@click.option("--cohort-scp", type=FILE, help="Embeddings of the cohort: speakers' means or utterances.")
@click.option("--cohort-utt2spk", type=FILE, help="Their speakers, none of whom may be in the trials.")
@click.option("--top-k", type=click.IntRange(min=2), default=300, help="Members of the cohort that count in --norm as.")
@click.option("--norm-stats", type=FILE, help="Folder that keeps the statistics of the cohort, as arks.")
@click.option("--calibration", type=FILE, help="Make the scores log-likelihood ratios, as `imlkd calibrate` found.")
@click.option("--utt2spk", multiple=True, type=FILE, help="Speakers of the trials, for --norm and --calibration.")
@click.option("--utt2dur", multiple=True, type=FILE, help="Seconds by id, when the calibration uses them; repeatable.")
@click.option("--magnitude-scp", multiple=True, type=FILE, help="Raw embeddings, likewise; repeatable.")
@click.option("--cohort-stats-scp", multiple=True, type=FILE, help="Statistics of a cohort, likewise; repeatable.")
def score(
    trials_path: Path, enroll_scp: Path, test_scp: Path, out: Path, mean_scp: Path | None, backend: str,
    plda: Path | None, id_map: str | None, **options: Any,
) -> None:  # fmt: skip
    """Score trials: by the cosine of their embeddings (-1 to 1), or by PLDA (a log-likelihood ratio).

    All ids are looked up before anything is scored. A run that was killed goes on where it was.
    """
    workers = _workers() if options["norm"] != "none" else 1
    from imlkd.corpora.trials.lists import open_trials
    from imlkd.scoring.cosine import score_trials
    from imlkd.scoring.score_file import write_as_they_come
    from imlkd.scoring.scorer import ScoringOptions, make_scorer

    if (backend == "plda") != (plda is not None):
        raise click.UsageError("--backend plda and --plda belong together: give both or none")
    chosen = ScoringOptions(plda=plda, mean_scp=mean_scp, **options)
    ids = id_map_of(id_map)
    trials = open_trials(trials_path)
    click.echo(trials.describe())
    if chosen == ScoringOptions(mean_scp=mean_scp):
        score_trials(trials, enroll_scp, test_scp, out, mean_scp, ids, say)
    else:
        scorer = make_scorer(trials, enroll_scp, test_scp, replace(chosen, workers=workers), ids)
        write_as_they_come(out, trials, scorer, say)
    click.echo(f"{out}: {len(trials)} scores")


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


def _workers() -> int:
    """Threads that numpy's products of matrices would take; where numpy is not loaded yet, they get one each instead.

    Then blocks of work run side by side, the steps between the products too.
    """
    wanted = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    cores = len(os.sched_getaffinity(0))
    if "numpy" in sys.modules:
        return 1
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    return min(int(wanted), cores) if wanted.isdecimal() and int(wanted) else cores
