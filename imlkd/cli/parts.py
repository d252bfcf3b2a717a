"""`imlkd data subset` and its like: parts of a set, sets together, tables mended, audio that has moved."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
RULES = ["spread", "first", "last", "shortest", "per-speaker", "speakers"]


@click.command()
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--number", type=click.IntRange(1), help="How many utterances.")
@click.option("--by", "rule", type=click.Choice(RULES), default="spread", show_default=True,
              help="Which: spread evenly, first, last, shortest; so many of each speaker; whole speakers.")  # fmt: skip
@click.option("--utterances", type=PATH, help="Those whose id is first in a line of this file.")
@click.option("--speakers", type=PATH, help="Those whose speaker is.")
def subset(
    source: Path, out: Path, number: int | None, rule: str, utterances: Path | None, speakers: Path | None
) -> None:
    """Write some utterances of SOURCE (a data directory or Lhotse cuts) as OUT, in the same form."""
    from imlkd.corpora.selection import choose, listed
    from imlkd.corpora.utterance_set import read_set
    from imlkd.errors import UserError

    if (number is not None) + (utterances is not None) + (speakers is not None) != 1:
        raise UserError("--number, --utterances or --speakers: give one of them")
    whole = read_set(source)
    if number is not None:
        chosen = choose(whole.utt2spk, number, rule, whole.seconds() if rule == "shortest" else None)
    else:
        path = utterances or speakers
        assert path is not None
        chosen, unknown = listed(whole.utt2spk, path, speakers is not None)
        if unknown:
            click.echo(f"{path}: {len(unknown)} ids are not in {source}: {', '.join(unknown[:5])}")
    whole.part(chosen).write(out)
    click.echo(f"{out}: {len(chosen)} of {len(whole.utt2spk)} utterances")


@click.command()
@click.argument("source", type=PATH)
@click.argument("count", type=click.IntRange(1))
@click.argument("out", type=PATH)
@click.option("--per-utterance", is_flag=True, help="Split between any two utterances, not between speakers only.")
def split(source: Path, count: int, out: Path, per_utterance: bool) -> None:
    """Write SOURCE in COUNT parts of about equal size: OUT/1, OUT/2 ..., for cuts OUT/1.jsonl.gz ..."""
    from imlkd.corpora.kaldi_dir import is_manifest
    from imlkd.corpora.selection import parts
    from imlkd.corpora.utterance_set import read_set

    whole = read_set(source)
    for number, part in enumerate(parts(whole.utt2spk, count, per_utterance), start=1):
        place = out / (f"{number}.jsonl.gz" if is_manifest(source) else str(number))
        whole.part(part).write(place)
        click.echo(f"{place}: {len(part)} utterances")


@click.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("out", type=PATH)
def combine(sources: tuple[Path, ...], out: Path) -> None:
    """Write all utterances of SOURCES (all data directories, or all Lhotse cuts) as OUT."""
    from imlkd.corpora.utterance_set import combined, read_set

    whole = combined([read_set(path) for path in sources], click.echo)
    whole.write(out)
    click.echo(f"{out}: {len(whole.utt2spk)} utterances")


@click.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
def fix(sources: tuple[Path, ...]) -> None:
    """Mend data directories and cut manifests in place: sort, drop what not every table knows; old files are kept."""
    from imlkd.corpora.kaldi_dir import is_manifest
    from imlkd.corpora.repair import fix_data_dir, fix_manifest

    for path in sources:
        (fix_manifest if is_manifest(path) else fix_data_dir)(path, click.echo)


@click.command()
@click.argument("source", type=PATH)
@click.argument("old")
@click.argument("new")
@click.option("--out", type=PATH, help="Write there and leave SOURCE as it is.")
def relocate(source: Path, old: str, new: str, out: Path | None) -> None:
    """Write NEW for OLD at the beginning of the audio's paths of SOURCE (a data directory or Lhotse cuts)."""
    from imlkd.corpora.utterance_set import read_set, relocate_tables

    moved = read_set(source).moved(old, new)
    if out is None:
        relocate_tables(source, moved)
    else:
        moved.write(out)
    click.echo(f"{out or source}: audio below {new}")


@click.command()
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--factors", required=True, metavar="F[,F...]", help="As 0.9,1.1: tempo and pitch that much higher.")
@click.option("--speakers", type=click.Choice(["new", "same"]), required=True, help="Whose the copies are.")
@click.option("--sample-rate", default=16000, show_default=True, type=click.IntRange(1), help="Of the audio, Hz.")
@click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
def speed(source: Path, out: Path, factors: str, speakers: str, sample_rate: int, allow_pipes: bool) -> None:
    """Write the data directory SOURCE with copies at other speeds as OUT, their audio beside it (OUT.audio)."""
    from imlkd.errors import UserError
    from imlkd.features.speed import speed_copies

    try:
        numbers = [float(part) for part in factors.split(",") if part]
    except ValueError:
        raise UserError(f"--factors {factors}: expected numbers with commas between, as 0.9,1.1") from None
    speed_copies(source, out, numbers, speakers, allow_pipes, click.echo, sample_rate)
