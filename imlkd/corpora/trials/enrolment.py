"""Models with several enrolment utterances: which utterances a model is made of (``model.lst``, NIST's tables)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import atomic_open
from imlkd.kaldi_io import read_lines

LAYOUTS = {
    "lst": "<model> <utterance> <utterance> ...",
    "nist": "a header with modelid and segmentid, then a line for each utterance of a model",
}
_MODEL = ("modelid", "model-id", "model_id")
_SEGMENT = ("segmentid", "segment-id", "segment_id")

Models = dict[str, list[str]]


def read_models(path: Path | str) -> tuple[Models, str]:
    """Utterances by model in the order of the file, and the layout, a key of ``LAYOUTS`` (told from the first line).

    A first line such as ``model-id enroll-file-id1 enroll-file-id2`` is a header of the layout ``lst``.

    :raises UserError: naming file and line, for a model without utterances, a model twice, an utterance twice in one
        model, or a line of a table with other columns than its header.
    """
    path = Path(path)
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: empty list of models: expected lines '{LAYOUTS['lst']}'")
    header = [name.lower() for name in first[1].split()]
    segment = next((place for place, name in enumerate(header) if name in _SEGMENT), None)
    if header and header[0] in _MODEL and segment is not None:
        models, layout = _read_table(path, lines, len(header), segment), "nist"
    else:
        named = header and header[0] in _MODEL
        models, layout = _read_list(path, lines if named else chain([first], lines)), "lst"
    if not models:
        raise UserError(f"{path}: a header and no model: expected {LAYOUTS[layout]}")
    return models, layout


def write_models(path: Path | str, models: Mapping[str, list[str]], layout: str = "lst") -> None:
    """Write utterances by model in one of ``LAYOUTS``, atomically."""
    if layout not in LAYOUTS:
        raise ValueError(f"{layout!r} is no layout: expected one of {', '.join(LAYOUTS)}")
    with atomic_open(path) as stream:
        if layout == "lst":
            stream.writelines(f"{model} {' '.join(utterances)}\n" for model, utterances in models.items())
        else:
            stream.write("modelid\tsegmentid\tside\n")
            stream.writelines(f"{model}\t{one}\ta\n" for model, utterances in models.items() for one in utterances)


def _read_list(path: Path, lines: Iterator[tuple[int, str]]) -> Models:
    models: Models = {}
    for number, line in lines:
        model, *utterances = line.split() or [""]
        if not utterances:
            raise UserError(f"{path}:{number}: expected '{LAYOUTS['lst']}', found {line[:60]!r}: mend the line")
        if model in models:
            raise UserError(f"{path}:{number}: model {model} comes twice: put all its utterances on one line")
        if len(set(utterances)) < len(utterances):
            raise UserError(f"{path}:{number}: model {model} has an utterance twice: keep it once")
        models[model] = utterances
    return models


def _read_table(path: Path, lines: Iterator[tuple[int, str]], width: int, segment: int) -> Models:
    models: Models = {}
    seen: set[tuple[str, str]] = set()
    for number, line in lines:
        fields = line.split()
        if len(fields) != width:
            raise UserError(f"{path}:{number}: expected {width} columns as in the header, found {len(fields)}")
        pair = (fields[0], fields[segment])
        if pair in seen:
            raise UserError(f"{path}:{number}: model {pair[0]} has the utterance {pair[1]} twice: keep it once")
        seen.add(pair)
        models.setdefault(pair[0], []).append(pair[1])
    return models
