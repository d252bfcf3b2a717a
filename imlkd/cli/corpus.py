"""`imlkd corpus`: published corpora as they are handed out, to Kaldi data directories."""

from __future__ import annotations

import os
from pathlib import Path

import click

PATH = click.Path(path_type=Path)
_NJ = click.option(
    "--nj",
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="number of cores",
    type=click.IntRange(1),
    help="Threads.",
)


@click.group()
def corpus() -> None:
    """Prepare published corpora, convert their audio."""


@corpus.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("out", type=PATH)
@click.option("--trials", multiple=True, type=PATH, help="A list over VoxCeleb1: Vox1-O, E or H; may be repeated.")
@click.option("--train", default="auto", show_default=True, help="vox1_dev, vox2_dev, vox1_dev+vox2_dev or auto.")
@click.option("--allow-partial", is_flag=True, help="Go on with a part of the corpus.")
@click.option("--decode-m4a", is_flag=True, help="Leave m4a files, decode them when they are read.")
@click.option("--min-utterances", default=1, show_default=True, type=click.IntRange(1), help="Of a training speaker.")
@click.option("--expect", multiple=True, type=PATH, help="A list of utterances that should be there; may be repeated.")
@click.option("--relocate", nargs=2, default=None, metavar="OLD NEW", help="Beginning of paths in tables and lists.")
@click.option("--teacher-speakers", type=PATH, help="Whom an imported teacher was trained on, one a line.")
def voxceleb(
    sources: tuple[Path, ...], out: Path, trials: tuple[Path, ...], train: str, allow_partial: bool, decode_m4a: bool,
    min_utterances: int, expect: tuple[Path, ...], relocate: tuple[str, str] | None, teacher_speakers: Path | None,
) -> None:  # fmt: skip
    """Write VoxCeleb's SOURCES (folders, Kaldi directories, lists) as a training and a test set below OUT."""
    from imlkd.corpora.speaker_overlap import read_speakers
    from imlkd.corpora.voxceleb.prepare import VoxOptions, prepare_voxceleb

    known = None if teacher_speakers is None else frozenset(read_speakers(teacher_speakers))
    options = VoxOptions(train, allow_partial, decode_m4a, min_utterances, relocate, known)
    prepare_voxceleb(sources, trials, out, options, expect, click.echo)


@corpus.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("out", type=PATH)
@click.option("--tool", default="auto", show_default=True, help="pyav, ffmpeg, or auto: the first of these there is.")
@click.option("--sample-rate", default=16000, show_default=True, type=click.IntRange(1), help="Of the FLAC, Hz.")
@click.option("--max-bad", default="0", show_default=True, metavar="SHARE", help="Bad files to go on without, as 0.1%.")
@click.option("--verify", is_flag=True, help="Compare checksums of what was converted before.")
@_NJ
def convert(
    sources: tuple[Path, ...], out: Path, tool: str, sample_rate: int, max_bad: str, verify: bool, nj: int
) -> None:
    """Convert the m4a files below SOURCES to FLAC below OUT; goes on where it was interrupted."""
    from imlkd.corpora.convert import convert_m4a
    from imlkd.corpora.share import share_of

    convert_m4a(sources, out, nj, share_of(max_bad), sample_rate, tool, verify, click.echo)


@corpus.command()
@click.argument("shards", type=PATH)
@click.argument("out", type=PATH)
@_NJ
def unpack(shards: Path, out: Path, nj: int) -> None:
    """Write the audio files of SHARDS (a folder of .tar, or shard.list) as a tree below OUT."""
    from imlkd.corpora.shards import unpack_shards

    unpack_shards(shards, out, nj, click.echo)


@corpus.command("folders")
@click.argument("layout", type=click.Choice(["cnceleb", "librispeech", "libritts", "vctk", "folders"]))
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--test-speakers", type=PATH, help="Whom to test on, one a line (default: those of the test folders).")
@click.option("--trials", multiple=True, type=PATH, help="A list over the test speakers; may be repeated.")
@click.option("--drawn", default=10000, show_default=True, type=click.IntRange(2), help="Pairs drawn without a list.")
def speaker_folders(
    layout: str, source: Path, out: Path, test_speakers: Path | None, trials: tuple[Path, ...], drawn: int
) -> None:
    """Write the corpus of this LAYOUT at SOURCE as a training and a test set below OUT.

    The layout `folders` is <speaker>/<utterance> with anything above it.
    """
    from imlkd.corpora.speaker_folders import LAYOUTS, prepare_folders
    from imlkd.corpora.speaker_overlap import read_speakers

    tested = read_speakers(test_speakers) if test_speakers is not None else ()
    prepare_folders(LAYOUTS[layout], source, out, tested, trials, drawn, click.echo)
