"""`imlkd embed`: embeddings of audio by a finished model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imlkd.cli.listening import (
    PATH,
    SETTINGS,
    audio_options,
    chosen_audio,
    cores,
    embed_recordings,
    find_recordings,
    json_option,
    list_options,
    say_json,
)

if TYPE_CHECKING:
    from imlkd.runtime.embedding import Embedded


@click.command(context_settings=SETTINGS)
@click.argument("model_path", metavar="MODEL", type=PATH)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--out", type=PATH, help="File to write: X.ark (with X.scp beside it) or X.npz (arrays ids, embeddings).")
@json_option
@audio_options
@list_options
@click.option("--workers", type=click.IntRange(0), default=0, help="Recordings at a time; 0: one a core.")
def embed(
    model_path: Path, inputs: tuple[str, ...], out: Path | None, as_json: bool, allow_pipes: bool, max_bad: int,
    workers: int, **options: Any,
) -> None:  # fmt: skip
    """Embeddings of length 1 by MODEL, a .onnx file or a folder exp/<model>.

    INPUT is an audio file, a folder, a data directory, a .scp with lines `<id> <path>`, a .txt or .lst with a path a
    line, - (audio or paths on standard input) or scp:- (a wav.scp there).
    """
    if out is None and not as_json:
        raise click.UsageError("say where they go: --out FILE.ark, --out FILE.npz, or --json")
    if out is not None and out.suffix not in (".ark", ".npz"):
        raise click.UsageError(f"--out {out}: expected a name that ends in .ark or .npz")
    from imlkd.runtime.loading import load_model

    model = load_model(model_path)
    chosen = find_recordings(inputs, allow_pipes)
    workers = workers or cores()
    found = embed_recordings(model, chosen, chosen_audio(options), max_bad, workers if len(chosen) > 1 else 1)
    count = _deliver(found, out, as_json, model.embedding_dim)
    if out is not None:
        click.echo(f"{out}: {count} embeddings of {model.embedding_dim} dimensions", err=as_json)


def _deliver(found: Iterable[Embedded], out: Path | None, as_json: bool, dim: int) -> int:
    from imlkd.runtime.writing import writer_for

    count = 0
    with writer_for(out, dim) as write:
        for one in found:
            if one.embedding is None:
                continue
            write(one.id, one.embedding)
            if as_json:
                vector = [float(f"{value:.9g}") for value in one.embedding]
                say_json({"id": one.id, "seconds": round(one.seconds, 4), "embedding": vector})
            count += 1
    return count
