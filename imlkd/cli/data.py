"""`imlkd data`: prepare, check and convert corpora."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from imlkd.cli.exchange import from_kaldi, from_lhotse, to_kaldi, to_lhotse, to_shar
from imlkd.cli.parts import combine, fix, relocate, speed, split, subset

PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def _split(ctx: click.Context, param: click.Parameter, value: str) -> list[Path]:
    """Paths of a comma-separated list; an empty option counts as none, so that a script may pass all of them."""
    return [Path(part) for part in value.split(",") if part]


def _paths(name: str, metavar: str, help: str) -> Callable[[F], F]:
    return click.option(name, default="", show_default=False, metavar=metavar, callback=_split, help=help)


def _audio_options(command: F) -> F:
    options = [
        click.option(
            "--sample-rate", default=16000, show_default=True, type=click.IntRange(1), help="Of the audio, Hz."
        ),
        click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds."),
        click.option(
            "--nj",
            default=lambda: len(os.sched_getaffinity(0)),
            show_default="number of cores",
            type=click.IntRange(1),
            help="Threads.",
        ),
        click.option("--bad", "bad_list", type=PATH, help="Write all bad utterances, with reasons, to this file."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Prepare, check and convert corpora."""


for _command in (from_kaldi, to_kaldi, from_lhotse, to_lhotse, to_shar, fix, subset, split, combine, relocate, speed):
    data.add_command(_command)

@data.command()
@_paths("--train", "DIR", "Kaldi data directory to train on.")
@_paths("--test", "DIR[,DIR...]", "Kaldi data directories of other speakers.")
@_paths("--trials", "FILE[,FILE...]", "Lists 'enroll test target|nontarget', each in its test directory.")
@_paths("--train-cuts", "FILE", "Lhotse cuts (.jsonl.gz) instead of --train.")
@_paths("--test-cuts", "FILE[,FILE...]", "Lhotse cuts instead of --test.")
@click.option("--out", type=PATH, default="data", show_default=True, help="Where <set>/ and manifests/ go.")
@click.option("--sets", "sets_file", type=PATH, help="Write the names of the sets and lists to this file (YAML).")
@click.option("--check", default="decode", show_default=True, help="Of the audio: decode, headers or none.")
@click.option("--max-bad", default="0", show_default=True, metavar="SHARE", help="Leave out bad audio up to, as 0.1%.")
@click.option("--relocate", nargs=2, default=None, metavar="OLD NEW", help="Beginning of the audio's paths.")
@_audio_options
def prepare(
    train: list[Path],
    test: list[Path],
    trials: list[Path],
    train_cuts: list[Path],
    test_cuts: list[Path],
    out: Path,
    sets_file: Path | None,
    check: str,
    max_bad: str,
    relocate: tuple[str, str] | None,
    sample_rate: int,
    allow_pipes: bool,
    nj: int,
    bad_list: Path | None,
) -> None:
    """Check a training set, test sets and trial lists, and put them into OUT as data directories and cuts."""
    from imlkd.corpora.prepare import prepare_corpus
    from imlkd.corpora.share import share_of
    from imlkd.errors import UserError

    if len(train) + len(train_cuts) != 1:
        raise UserError("--train or --train-cuts: give one of them (a Kaldi data directory, or Lhotse cuts)")
    if not test and not test_cuts:
        raise UserError("--test or --test-cuts: give at least one set of other speakers")
    if sets_file is not None and not trials:
        raise UserError("--trials: give at least one list of trials, a recipe has nothing to score without")
    training, tests = [*train, *train_cuts][0], [*test, *test_cuts]
    prepare_corpus(
        training, tests, trials, out, sample_rate, allow_pipes, nj, bad_list, sets_file, click.echo, check,
        share_of(max_bad), relocate,
    )  # fmt: skip


@data.command()
@click.argument("dirs", nargs=-1, required=True, type=PATH)
@click.option("--decode/--no-decode", default=True, show_default=True, help="Decode everything, or read headers only.")
@_audio_options
def check(
    dirs: tuple[Path, ...], decode: bool, sample_rate: int, allow_pipes: bool, nj: int, bad_list: Path | None
) -> None:
    """Check tables and audio of DIRS (data directories or Lhotse cuts), and that their ids mean the same."""
    from imlkd.corpora.check import check_corpus
    from imlkd.corpora.overlap import check_shared_ids
    from imlkd.corpora.prepare import load_set

    sets = [load_set(path, click.echo).data for path in dirs]
    check_shared_ids(sets)
    check_corpus(sets, sample_rate, allow_pipes, decode, nj, bad_list)
    for one in sets:
        click.echo(f"{one.path}: {len(one.utt2spk)} utterances in {len(one.wav)} recordings are good")


@data.command("hash")
@click.argument("dirs", nargs=-1, required=True, type=PATH)
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
def hash_dirs(dirs: tuple[Path, ...], allow_pipes: bool) -> None:
    """Print a hash of each data directory that doesn't depend on where it lies."""
    from imlkd.corpora.fingerprint import data_hash

    for path in dirs:
        click.echo(f"{data_hash(path, allow_pipes)}  {path}")
