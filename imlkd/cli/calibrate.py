"""`imlkd calibrate`: fit the map from scores to log-likelihood ratios."""

from __future__ import annotations

from pathlib import Path

import click

from imlkd.cli.lists import id_map_of, id_map_option, models_option, say_layout

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("scores", type=FILE)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, required=True, help="Speakers of the utterances; repeatable.")
@click.option("--out", type=FILE, required=True, help="Calibration to write (JSON), for `imlkd score --calibration`.")
@click.option(
    "--p-target",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.01,
    help="Prior of a target that it is best for.",
)
@click.option("--utt2dur", multiple=True, type=FILE, help="Also use durations: seconds by id; repeatable.")
@click.option(
    "--magnitude-scp", multiple=True, type=FILE, help="Also use the length of these raw embeddings; repeatable."
)
@click.option(
    "--cohort-stats-scp",
    multiple=True,
    type=FILE,
    help="Also use the mean against the cohort, from `imlkd score --norm-stats`; repeatable.",
)
@models_option
@id_map_option
def calibrate(
    scores: Path,
    trials_path: Path,
    utt2spk: tuple[Path, ...],
    out: Path,
    p_target: float,
    utt2dur: tuple[Path, ...],
    magnitude_scp: tuple[Path, ...],
    cohort_stats_scp: tuple[Path, ...],
    models: Path | None,
    id_map: str | None,
) -> None:
    """Fit a calibration on the SCORES of development TRIALS, whose speakers must not be those of any test list."""
    from imlkd.corpora.trials.lists import read_trials
    from imlkd.scoring.calibration import fit_calibration
    from imlkd.scoring.cohort import speakers_of
    from imlkd.scoring.logistic import cross_entropy
    from imlkd.scoring.quality import read_quality
    from imlkd.scoring.score_file import read_scores
    from imlkd.scoring.speakers import read_speakers, speakers_by_id

    ids, trials = id_map_of(id_map), read_trials(trials_path)
    say_layout(trials)
    values, names = read_scores(scores, trials), trials.enroll + trials.test
    known = speakers_by_id(trials, read_speakers(utt2spk), models, ids)
    speakers = speakers_of(names, known, ", ".join(map(str, utt2spk)))
    quality = read_quality(utt2dur, magnitude_scp, cohort_stats_scp).respelt(names, ids)
    calibration = fit_calibration(trials, values, speakers, p_target, quality)
    calibration.write(out)
    llr = calibration.apply(values, trials.enroll, trials.test, quality)
    terms = [f"{calibration.scale:.4g} * score", *(f"{w:.4g} * {name}" for name, w in calibration.quality.items())]
    click.echo(f"{out}: llr = {' + '.join(terms)} + {calibration.offset:.4g}")
    click.echo(
        f"fitted on {calibration.targets} target and {calibration.nontargets} nontarget trials of "
        f"{len(calibration.speakers)} speakers; Cllr {cross_entropy(values, trials.is_target):.4f} as scored, "
        f"{cross_entropy(llr, trials.is_target):.4f} calibrated"
    )
