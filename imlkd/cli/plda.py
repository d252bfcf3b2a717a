"""`imlkd plda`: fit, adapt, copy and show a PLDA back-end in Kaldi's files."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


@click.group(context_settings=SETTINGS)
def plda() -> None:
    """PLDA back-ends: folders with Kaldi's `plda`, `mean.vec` and `transform.mat`, and `backend.yaml`."""


@plda.command(context_settings=SETTINGS)
@click.argument("xvector_scp", type=FILE)
@click.argument("utt2spk", type=FILE)
@click.argument("out_dir", metavar="OUTDIR", type=FILE)
@click.option("--lda-dim", type=click.IntRange(min=1), help="Reduce to so many dimensions by LDA first.")
@click.option("--iterations", type=click.IntRange(min=0), default=10, help="Of EM.")
@click.option("--length-norm/--no-length-norm", default=True, help="Scale embeddings to the length sqrt(D) first.")
@click.option(
    "--enrolment",
    type=click.Choice(["book", "average"]),
    default="book",
    help="Several enrolment utterances: their exact likelihood, or as if their mean were one utterance.",
)
def fit(
    xvector_scp: Path,
    utt2spk: Path,
    out_dir: Path,
    lda_dim: int | None,
    iterations: int,
    length_norm: bool,
    enrolment: str,
) -> None:
    """Fit mean, LDA and PLDA on the embeddings XVECTOR_SCP of the speakers in UTT2SPK; writes OUTDIR."""
    from imlkd.errors import naming
    from imlkd.kaldi_io import read_scp_arrays, read_table
    from imlkd.scoring.plda_backend import PldaConfig, fit_backend, write_backend

    config = PldaConfig(length_norm=length_norm, enrolment=enrolment)
    speakers, vectors = read_table(utt2spk, fields=2), read_scp_arrays(xvector_scp)
    with naming(xvector_scp):
        backend = fit_backend(vectors, speakers, lda_dim, iterations, config)
    write_backend(backend, out_dir)
    _say(out_dir)


@plda.command(context_settings=SETTINGS)
@click.argument("backend", type=FILE)
@click.argument("xvector_scp", type=FILE)
@click.argument("out_dir", metavar="OUTDIR", type=FILE)
@click.option(
    "--method",
    type=click.Choice(["kaldi", "coral"]),
    default="kaldi",
    help="As ivector-adapt-plda; or CORAL: the total covariance becomes the new domain's.",
)
@click.option("--within-scale", type=click.FloatRange(0), default=0.3, help="kaldi: share of excess variance within.")
@click.option("--between-scale", type=click.FloatRange(0), default=0.7, help="kaldi: share between speakers.")
@click.option("--recentre/--no-recentre", default=True, help="Subtract the new domain's mean from now on.")
def adapt(
    backend: Path,
    xvector_scp: Path,
    out_dir: Path,
    method: str,
    within_scale: float,
    between_scale: float,
    recentre: bool,
) -> None:
    """Adapt BACKEND to the embeddings XVECTOR_SCP of a new domain, whose speakers need not be known."""
    from imlkd.errors import naming
    from imlkd.kaldi_io import read_scp_arrays
    from imlkd.scoring.plda_backend import adapt_backend, read_backend, write_backend

    known, vectors = read_backend(backend), read_scp_arrays(xvector_scp)
    with naming(xvector_scp):
        adapted = adapt_backend(known, vectors, method, within_scale, between_scale, recentre)
    write_backend(adapted, out_dir)
    _say(out_dir)


@plda.command(context_settings=SETTINGS)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--text", is_flag=True, help="Write Kaldi's text form instead of the binary one.")
def copy(source: Path, target: Path, text: bool) -> None:
    """Copy Kaldi's file `plda` IN to OUT, binary or as text, as ivector-copy-plda does."""
    from imlkd.scoring.kaldi_plda import read_plda, write_plda

    model = read_plda(source / "plda" if source.is_dir() else source)
    write_plda(target, model, text)
    click.echo(f"{target}: PLDA of {model.dim} dimensions, {'text' if text else 'binary'}")


@plda.command(context_settings=SETTINGS)
@click.argument("backend", type=FILE)
def show(backend: Path) -> None:
    """Say what BACKEND, a folder or a bare `plda`, does to an embedding."""
    _say(backend)


def _say(path: Path) -> None:
    from imlkd.scoring.plda_backend import describe, read_backend

    found = read_backend(path)
    trained = f", trained on {len(found.speakers)} speakers" if found.speakers else ""
    click.echo(f"{path}: " + "; ".join(describe(found)) + trained)
