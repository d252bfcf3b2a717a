"""`imlkd data from-kaldi` and its like: Kaldi directories and Lhotse manifests in and out."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
PIPES = click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")


@click.command("from-kaldi")
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@PIPES
def from_kaldi(source: Path, out: Path, allow_pipes: bool) -> None:
    """Write any Kaldi directory SOURCE as the checked directory OUT: absolute paths, exact lengths, spk2utt."""
    from imlkd.corpora.lhotse.interchange import import_kaldi

    import_kaldi(source, out, allow_pipes, click.echo)


@click.command("to-kaldi")
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--flac", type=click.Choice(["path", "pipe"]), default="path", show_default=True,
              help="pipe: `flac -c -d -s FILE |`, which Kaldi's own programs need.")  # fmt: skip
def to_kaldi(source: Path, out: Path, flac: str) -> None:
    """Write SOURCE (a data directory or Lhotse cuts) as the Kaldi directory OUT, for Kaldi's scripts."""
    from imlkd.corpora.lhotse.interchange import export_kaldi

    export_kaldi(source, out, flac, click.echo)


@click.command("from-lhotse")
@click.argument("cuts", type=PATH)
@click.argument("out", type=PATH)
@click.option("--supervisions", type=PATH, help="CUTS are recordings, and these their supervisions.")
def from_lhotse(cuts: Path, out: Path, supervisions: Path | None) -> None:
    """Write Lhotse CUTS (.jsonl.gz) as the new data directory OUT; what no table holds goes to utt2lhotse."""
    from imlkd.corpora.lhotse.interchange import import_lhotse

    import_lhotse(cuts, out, supervisions, click.echo)


@click.command("to-lhotse")
@click.argument("pairs", metavar="DATA_DIR OUT [DATA_DIR OUT]...", nargs=-1, required=True, type=PATH)
@PIPES
def to_lhotse(pairs: tuple[Path, ...], allow_pipes: bool) -> None:
    """Write the utterances of each DATA_DIR as Lhotse cuts to the OUT behind it.

    An OUT that is no .jsonl.gz is a folder, which gets recordings and supervisions beside the cuts.
    """
    from imlkd.corpora.lhotse.interchange import export_lhotse

    if len(pairs) % 2:
        raise click.UsageError(f"{pairs[-1]}: name a file for the cuts behind each data directory")
    for data_dir, out in zip(pairs[::2], pairs[1::2], strict=True):
        export_lhotse(data_dir, out, allow_pipes, click.echo)


@click.command("to-shar")
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--shard-size", default=1000, show_default=True, type=click.IntRange(1), help="Utterances a shard.")
@click.option("--audio", type=click.Choice(["flac", "wav"]), default="flac", show_default=True, help="In the shards.")
@PIPES
def to_shar(source: Path, out: Path, shard_size: int, audio: str, allow_pipes: bool) -> None:
    """Write SOURCE (a data directory or Lhotse cuts) with its audio, and its features, as Lhotse Shar to OUT."""
    from imlkd.corpora.lhotse.shar import export_shar

    export_shar(source, out, shard_size, audio, allow_pipes, click.echo)
