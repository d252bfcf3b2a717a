"""`imlkd enroll`, `imlkd identify`: a store of known speakers, and who a voice is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imlkd.cli.listening import (
    PATH,
    SETTINGS,
    audio_options,
    chosen_audio,
    chosen_point,
    decision_options,
    embed_recordings,
    find_recordings,
    json_option,
    list_options,
    say,
    say_json,
    wait_option,
)

if TYPE_CHECKING:
    from imlkd.runtime.verdict import Verdict

model_option = click.option(
    "--model", "model_path", type=PATH, required=True, help="A .onnx file, or a folder exp/<model>."
)


@click.command(context_settings=SETTINGS)
@click.argument("store_path", metavar="STORE", type=PATH)
@click.argument("name")
@click.argument("inputs", metavar="AUDIO...", nargs=-1, required=True)
@model_option
@click.option("--replace", is_flag=True, help="Forget what is known of this speaker first.")
@audio_options
@list_options
@wait_option
@json_option
def enroll(
    store_path: Path, name: str, inputs: tuple[str, ...], model_path: Path, replace: bool, allow_pipes: bool,
    max_bad: int, wait: float, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Add recordings AUDIO... of the speaker NAME to STORE, which is made when it is not there.

    All of them are added, or none. AUDIO is what INPUT is for `imlkd embed`. A recording that the speaker has already
    is passed over, so that the command can be repeated.
    """
    from imlkd.errors import UserError
    from imlkd.runtime.loading import load_model
    from imlkd.runtime.speaker_store import Enrolment, SpeakerStore, check_name

    name = check_name(name)
    model = load_model(model_path)
    if store_path.is_file() and store_path.stat().st_size:
        SpeakerStore(store_path, model.card, wait).close()  # of another model? Better said before the work
    chosen = find_recordings(inputs, allow_pipes)
    found = [
        Enrolment(one.id, one.seconds, one.embedding)
        for one in embed_recordings(model, chosen, chosen_audio(options), max_bad)
        if one.embedding is not None
    ]
    if not found:
        raise UserError(f"{store_path}: {name}: no usable recording: nothing enrolled")
    with SpeakerStore(store_path, model.card, wait) as store:
        added = store.enroll({name: found}, replace)
    if as_json:
        return say_json({"store": str(store_path), "speaker": name, "added": added, "known": len(found) - added})
    known = f", {len(found) - added} known already" if added < len(found) else ""
    say(f"{store_path}: {name}: {added} recordings added{known}")


@click.command(context_settings=SETTINGS)
@click.argument("store_path", metavar="STORE", type=PATH)
@click.argument("inputs", metavar="AUDIO...", nargs=-1, required=True)
@model_option
@click.option("--top", type=click.IntRange(1), default=5, help="Speakers that are named for each recording.")
@decision_options
@audio_options
@list_options
@wait_option
@json_option
def identify(
    store_path: Path, inputs: tuple[str, ...], model_path: Path, top: int, operating_point: str | None,
    prior: float | None, allow_pipes: bool, max_bad: int, wait: float, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Who in STORE do the recordings AUDIO... sound like?

    The nearest speaker is named when the score reaches the threshold of the operating point, else the voice is
    `unknown`. The threshold is one for pairs: in a store of N speakers a stranger has N chances to pass it. AUDIO is
    what INPUT is for `imlkd embed`.
    """
    from imlkd.errors import UserError
    from imlkd.runtime.loading import load_model
    from imlkd.runtime.speaker_store import SpeakerStore
    from imlkd.runtime.verdict import judge

    if not store_path.is_file():
        raise UserError(f"{store_path}: no such store: `imlkd enroll` makes one")
    model = load_model(model_path)
    point, prior = chosen_point(operating_point, prior, model)
    chosen = find_recordings(inputs, allow_pipes)
    with SpeakerStore(store_path, model.card, wait) as store:
        for one in embed_recordings(model, chosen, chosen_audio(options), max_bad):
            if one.embedding is None:
                continue
            ranked = []
            for candidate in store.search(one.embedding, top):
                seconds = candidate.seconds, one.seconds
                ranked.append((candidate.name, judge(candidate.score, point, model.calibration, prior, seconds)))
            _say_candidates(one.id, one.seconds, ranked, as_json)


def _say_candidates(name: str, seconds: float, ranked: Sequence[tuple[str, Verdict]], as_json: bool) -> None:
    best = ranked[0][0] if ranked and ranked[0][1].accepted else None
    if as_json:
        candidates = [{"rank": i, "speaker": who, **verdict.to_dict()} for i, (who, verdict) in enumerate(ranked, 1)]
        return say_json({"id": name, "seconds": round(seconds, 4), "speaker": best, "candidates": candidates})
    if not ranked:
        return say(f"{name}: unknown: the store is empty")
    say(f"{name}: {best or 'unknown'}: {ranked[0][1].decision()}")
    for rank, (who, verdict) in enumerate(ranked, 1):
        llr = "" if verdict.llr is None else f"\tllr {verdict.llr:.3f}"
        mark = "" if verdict.accepted is None else "\tsame" if verdict.accepted else "\tdifferent"
        say(f"  {rank}\t{who}\t{verdict.score:.4f}{llr}{mark}")
