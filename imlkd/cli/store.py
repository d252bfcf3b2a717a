"""`imlkd store`: who is in a store of speakers, and changes that need no model."""

from __future__ import annotations

from pathlib import Path

import click

from imlkd.cli.listening import PATH, SETTINGS, json_option, say, say_json, wait_option


@click.group(context_settings=SETTINGS)
def store() -> None:
    """Stores of speakers that `imlkd enroll` made: list, remove, rename, check."""


@store.command("list", context_settings=SETTINGS)
@click.argument("path", metavar="STORE", type=PATH)
@wait_option
@json_option
def list_speakers(path: Path, wait: float, as_json: bool) -> None:
    """The speakers of STORE by name, with the number of their recordings and the seconds of these together."""
    from imlkd.runtime.speaker_store import SpeakerStore

    with SpeakerStore(path, wait=wait) as opened:
        for one in opened.speakers():
            if as_json:
                say_json({"speaker": one.name, "recordings": one.recordings, "seconds": round(one.seconds, 3)})
            else:
                say(f"{one.name}\t{one.recordings}\t{one.seconds:.1f}")


@store.command(context_settings=SETTINGS)
@click.argument("path", metavar="STORE", type=PATH)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@wait_option
def remove(path: Path, names: tuple[str, ...], wait: float) -> None:
    """Forget the speakers NAME... with all their recordings."""
    from imlkd.runtime.speaker_store import SpeakerStore

    with SpeakerStore(path, wait=wait) as opened:
        for name in names:
            opened.remove(name)
            say(f"{path}: {name} removed")


@store.command(context_settings=SETTINGS)
@click.argument("path", metavar="STORE", type=PATH)
@click.argument("name")
@click.argument("new")
@wait_option
def rename(path: Path, name: str, new: str, wait: float) -> None:
    """Call the speaker NAME of STORE NEW from now on."""
    from imlkd.runtime.speaker_store import SpeakerStore

    with SpeakerStore(path, wait=wait) as opened:
        opened.rename(name, new)
    say(f"{path}: {name} is {new} now")


@store.command(context_settings=SETTINGS)
@click.argument("path", metavar="STORE", type=PATH)
@wait_option
@json_option
def check(path: Path, wait: float, as_json: bool) -> None:
    """Look at every page and every embedding of STORE; exit status 1 when something is damaged."""
    from imlkd.runtime.speaker_store import SpeakerStore

    with SpeakerStore(path, wait=wait) as opened:
        count = opened.check()
        if as_json:
            facts = {"model": opened.model, "model_sha256": opened.model_sha256, "dim": opened.dim}
            say_json({"store": str(path), "speakers": count, **facts})
        else:
            say(f"{path}: whole: {count} speakers, {opened.dim} dimensions of {opened.model}")
