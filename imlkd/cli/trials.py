"""`imlkd trials`: make trial lists, show them, and write them in another layout."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}
LAYOUTS = ("kaldi", "voxceleb", "speechbrain", "nist", "csv")


@click.group(context_settings=SETTINGS)
def trials() -> None:
    """Trial lists, read in any of these layouts (the first line tells which).

    \b
    kaldi        <enroll> <test> target|nontarget
    voxceleb     1|0 <enroll> <test>
    speechbrain  <enroll> <test> 1|0 [<score>]
    nist         header modelid segmentid [side] targettype, between tabs
    csv          header such as enroll,test,label
    """


@trials.command(context_settings=SETTINGS)
@click.argument("data", type=FILE)
@click.argument("out", metavar="LIST", type=FILE)
@click.option("--targets", type=click.IntRange(min=1), default=20, help="Target trials a speaker, at most.")
@click.option("--nontargets", type=click.IntRange(min=1), default=20, help="Nontarget trials a speaker enrols in.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same list.")
@click.option("--utt2rec", type=FILE, help="Recording of each utterance; default: DATA/utt2rec, else DATA/segments.")
@click.option("--spk2gender", type=FILE, help="Default: DATA/spk2gender where it is.")
@click.option("--utt2corpus", type=FILE, help="Default: DATA/utt2corpus where it is.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="kaldi", help="How the list is written.")
def make(
    data: Path, out: Path, targets: int, nontargets: int, seed: int, utt2rec: Path | None, spk2gender: Path | None,
    utt2corpus: Path | None, layout: str,
) -> None:  # fmt: skip
    """Make LIST from the data directory DATA: within gender and corpus, across recordings first, speakers balanced."""
    from imlkd.corpora.trials.lists import write_trials
    from imlkd.corpora.trials.making import make_trials, read_voices

    made = make_trials(read_voices(data, utt2rec, spk2gender, utt2corpus), targets, nontargets, seed, out)
    write_trials(out, made.trials, layout)
    click.echo("\n".join(made.said))


@trials.command(context_settings=SETTINGS)
@click.argument("path", metavar="LIST", type=FILE)
def show(path: Path) -> None:
    """Say the layout of LIST, its trials and its ids; all that is wrong with it ends in one line."""
    from imlkd.corpora.trials.lists import open_trials

    click.echo(open_trials(path).describe())


@trials.command(context_settings=SETTINGS)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--layout", type=click.Choice(LAYOUTS), default="kaldi", help="Of OUT.")
def convert(source: Path, target: Path, layout: str) -> None:
    """Write the list IN in another layout."""
    from imlkd.corpora.trials.lists import read_trials, write_trials

    found = read_trials(source)
    write_trials(target, found, layout)
    click.echo(f"{target}: {len(found)} trials, {layout} layout (from {found.layout})")


@trials.command(context_settings=SETTINGS)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--layout", type=click.Choice(["lst", "nist"]), default="lst", help="Of OUT.")
def models(source: Path, target: Path, layout: str) -> None:
    """Write the models IN, each of several enrolment utterances, in another layout."""
    from imlkd.corpora.trials.enrolment import read_models, write_models

    found, before = read_models(source)
    write_models(target, found, layout)
    click.echo(f"{target}: {len(found)} models, {layout} layout (from {before})")
