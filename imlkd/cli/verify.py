"""`imlkd verify`: are two recordings of one speaker?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from imlkd.cli.listening import (
    PATH,
    SETTINGS,
    audio_options,
    chosen_audio,
    chosen_point,
    decision_options,
    json_option,
    say,
    say_json,
)


@click.command(context_settings=SETTINGS)
@click.argument("model_path", metavar="MODEL", type=PATH)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@decision_options
@audio_options
@json_option
def verify(
    model_path: Path, a: str, b: str, operating_point: str | None, prior: float | None, as_json: bool, **options: Any
) -> None:
    """Are the audio files A and B of one speaker? MODEL is a .onnx file or a folder exp/<model>; - is standard input.

    Prints the score (cosine), the log-likelihood ratio where the model carries a calibration, the decision at the
    operating point, and how sure it is. The exit status is 0 whatever the decision.
    """
    from imlkd.errors import UserError
    from imlkd.runtime.inputs import recordings
    from imlkd.runtime.loading import load_model
    from imlkd.runtime.verdict import cosine, judge

    model = load_model(model_path)
    point, prior = chosen_point(operating_point, prior, model)
    audio = chosen_audio(options)
    sides = []
    for name in (a, b):
        chosen = recordings([name], stdin=sys.stdin.buffer)
        if len(chosen) != 1:
            raise UserError(f"{name}: names {len(chosen)} recordings: give one audio file (many: `imlkd embed`)")
        samples = chosen[0].read(model.sample_rate, audio)
        sides.append((model.embed_samples(samples, chosen[0].place), len(samples) / model.sample_rate))
    (left, left_seconds), (right, right_seconds) = sides
    verdict = judge(cosine(left, right), point, model.calibration, prior, (left_seconds, right_seconds))
    if as_json:
        return say_json({"a": a, "b": b, "model": model.card.name, **verdict.to_dict()})
    lacking = "the model carries no calibration" if model.calibration is None else "its calibration wants a cohort"
    llr = f"none: {lacking}" if verdict.llr is None else f"{verdict.llr:.3f}"
    say(f"score     {verdict.score:.4f}")
    say(f"llr       {llr}")
    say(f"decision  {verdict.decision()}")
    say(f"how sure  {verdict.how_sure()}")
