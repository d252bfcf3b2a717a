"""What the verbs that listen to audio have in common: options, the model, bad files, lines of JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from imlkd.runtime.audio import AudioOptions
    from imlkd.runtime.embedding import Embedded
    from imlkd.runtime.inputs import Recording
    from imlkd.runtime.model import EmbeddingModel
    from imlkd.runtime.thresholds import OperatingPoint

PATH = click.Path(path_type=Path)
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}
Command = TypeVar("Command", bound=Callable[..., Any])

_AUDIO = (
    click.option("--resample", is_flag=True, help="Take audio of another sampling rate and resample it."),
    click.option("--channel", type=click.IntRange(1), help="Of audio of several channels take this one."),
    click.option("--max-seconds", type=click.FloatRange(0, min_open=True), default=600.0, help="Refuse longer audio."),
)
_LISTS = (
    click.option("--allow-pipes", is_flag=True, help="Run the commands that a wav.scp holds."),
    click.option("--max-bad", type=click.IntRange(0), default=0, help="Unusable recordings that are left out."),
)
_DECISION = (
    click.option("--operating-point", help="eer, a target prior as 0.01 or 0.001, or threshold=X.  [default: eer]"),
    click.option(
        "--prior",
        type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
        help="Prior of one speaker, for the probability.  [default: that of --operating-point, else 0.5]",
    ),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Lines of JSON on standard output.")
wait_option = click.option("--wait", type=click.FloatRange(0.0), default=10.0, help="Seconds for a locked store.")


def _apply(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def audio_options(command: Command) -> Command:
    """How audio is read."""
    return _apply(_AUDIO, command)


def list_options(command: Command) -> Command:
    """What may be wrong with many recordings."""
    return _apply(_LISTS, command)


def decision_options(command: Command) -> Command:
    """Where a decision is made."""
    return _apply(_DECISION, command)


def chosen_audio(options: dict[str, Any]) -> AudioOptions:
    """Take the values of ``audio_options`` out of ``options``."""
    from imlkd.runtime.audio import AudioOptions

    return AudioOptions(*(options.pop(name) for name in ("resample", "channel", "max_seconds")))


def chosen_point(name: str | None, prior: float | None, model: EmbeddingModel) -> tuple[OperatingPoint | None, float]:
    """Operating point and prior; no point when none was asked for and the model has no threshold."""
    from imlkd.runtime.thresholds import operating_point

    if name is None and "eer" not in model.thresholds.values:
        return None, prior or 0.5
    point = operating_point(name or "eer", model.thresholds, model.calibration)
    return point, prior or point.prior or 0.5


def find_recordings(inputs: Sequence[str], allow_pipes: bool) -> list[Recording]:
    """What INPUT... names, standard input included."""
    from imlkd.runtime.inputs import recordings

    return recordings(inputs, allow_pipes, sys.stdin.buffer)


def embed_recordings(
    model: EmbeddingModel, chosen: Sequence[Recording], audio: AudioOptions, max_bad: int, workers: int = 1
) -> Iterator[Embedded]:
    """The usable ones, with progress on stderr; each unusable one is a line there, and counted against ``max_bad``."""
    from imlkd.progress import Progress
    from imlkd.runtime.embedding import BadFiles, embed_all

    bad = BadFiles(max_bad)
    with Progress("embed", len(chosen)) as counted:
        for one in embed_all(model, chosen, audio, workers):
            if one.embedding is None:
                bad.add(one.problem)
                click.echo(f"left out: {one.problem}", err=True)
            else:
                yield one
            counted.update()
    if bad.problems:
        click.echo(f"{len(bad.problems)} of {len(chosen)} recordings left out", err=True)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def say_json(line: dict[str, Any]) -> None:
    """One line, ASCII only, so that any terminal and any file name will do."""
    click.echo(json.dumps(line, allow_nan=False))


def say(line: str) -> None:
    """One line of text, in which bytes of a file's name that are no Unicode are spelt out."""
    click.echo(line.encode("utf-8", "backslashreplace").decode("utf-8"))
