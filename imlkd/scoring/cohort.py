"""The cohort of a score normalisation: who may be in it, and its statistics, kept as an ark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir, parse_json
from imlkd.kaldi_io import ArkWriter, FloatArray, read_scp_arrays
from imlkd.progress import Progress
from imlkd.scoring.normalisation import cohort_statistics

_LISTED = 5


def speakers_of(ids: Iterable[str], utt2spk: Mapping[str, str], source: str) -> set[str]:
    """Speakers of ``ids``; an id that is a speaker's own name stands for that speaker.

    :param source: where ``utt2spk`` was read, for the message.
    :raises UserError: naming the first ids of neither kind.
    """
    known = set(utt2spk.values())
    names = list(dict.fromkeys(ids))
    unknown = [name for name in names if name not in utt2spk and name not in known]
    if unknown:
        raise UserError(
            f"{source}: {len(unknown)} of {len(names)} ids have no speaker, first: {', '.join(unknown[:_LISTED])}: add "
            "their utt2spk"
        )
    return {utt2spk.get(name, name) for name in names}


def refuse_shared_speakers(cohort: Collection[str], test: Collection[str], place: Path | str, what: str) -> None:
    """UserError when a speaker of the cohort (or of a ``what``) at ``place`` is one of the trials'."""
    shared = sorted(set(cohort) & set(test))
    if shared:
        raise UserError(
            f"{place}: {what} shares {len(shared)} speakers with the trials, first: {', '.join(shared[:_LISTED])}: "
            "take them out, or take other speakers (the training set's)"
        )


def side_statistics(
    ids: list[str],
    rows: npt.NDArray[Any],
    cohort: FloatArray,
    top_k: int | None,
    label: str,
    cache: Path | None = None,
    dot_rows: Callable[[npt.NDArray[Any]], FloatArray] | None = None,
    workers: int = 1,
) -> FloatArray:
    """``cohort_statistics`` of one side of the trials, (N, 2), from ``cache`` when they were made of the same.

    :param ids: of the ``rows``, (N, M); ``dot_rows``, ``workers``: see ``cohort_statistics``.
    :param cache: folder; it gets ``<label>.ark``, ``<label>.scp`` (``<id>`` -> mean and standard deviation) and
        ``<label>.made_from.json``.
    :raises UserError: naming the id whose scores against the cohort are all the same.
    """
    made_from = _digest(ids, rows, cohort, top_k)
    if cache is not None and (found := _cached(cache, label, ids, made_from)) is not None:
        return found
    with Progress(f"{label} against the cohort", len(rows)) as progress:
        statistics = cohort_statistics(rows, cohort, top_k, dot_rows, progress, workers)
    flat = ~(statistics[:, 1] > 1e-6 * np.abs(statistics[:, 0]))
    if flat.any():
        raise UserError(
            f"{ids[int(np.argmax(flat))]}: all scores against the cohort are the same: does the cohort hold one "
            "embedding many times?"
        )
    if cache is not None:
        _keep(cache, label, ids, statistics, made_from)
    return statistics


def _digest(ids: list[str], rows: npt.NDArray[Any], cohort: FloatArray, top_k: int | None) -> str:
    digest = hashlib.sha256(json.dumps([ids, top_k, rows.shape, cohort.shape]).encode())
    for array in (rows, cohort):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _cached(cache: Path, label: str, ids: list[str], made_from: str) -> FloatArray | None:
    note, scp = cache / f"{label}.made_from.json", cache / f"{label}.scp"
    if not note.is_file() or not scp.is_file():
        return None
    try:
        if parse_json(note.read_text(encoding="utf-8"))["sha256"] != made_from:
            return None
        table = read_scp_arrays(scp)
        return np.stack([table[name] for name in ids])
    except (ValueError, KeyError, TypeError, UserError):
        return None  # damaged: made again


def _keep(cache: Path, label: str, ids: list[str], statistics: FloatArray, made_from: str) -> None:
    make_dir(cache)
    note = cache / f"{label}.made_from.json"
    note.unlink(missing_ok=True)
    with ArkWriter(cache / f"{label}.ark", cache / f"{label}.scp") as writer:
        for name, row in zip(ids, statistics, strict=True):
            writer.write(name, row)
    atomic_write_text(note, json.dumps({"sha256": made_from}) + "\n")
