"""Cuts with what the teacher said attached: one a training segment, and one an utterance with its curves."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from imlkd.attribution.arrays import ArrayWriter, mark_origin
from imlkd.attribution.curves import FULL, FUSED
from imlkd.attribution.origin import NO_RELEVANCE, Origin
from imlkd.attribution.utterances import OF_UTTERANCES
from imlkd.corpora.lhotse.cuts import write_cuts
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment
from imlkd.kaldi_io import read_array, read_table


def write_segment_cuts(out: Path, cuts: Path, segments: list[Segment], origin: Origin) -> None:
    """``out/cuts.jsonl.gz``: a cut for each segment, with its embedding (Array) and any relevance (TemporalArray)."""
    kinds = ["embedding"] if origin.relevance == NO_RELEVANCE else ["embedding", "relevance"]
    places = {kind: read_table(out / f"{kind}.scp", fields=2) for kind in kinds}
    own: dict[str, list[Segment]] = {}
    for segment in segments:
        own.setdefault(segment.utterance, []).append(segment)

    def attached() -> Generator[Any]:
        with ArrayWriter(out / "arrays" / "targets.h5") as writer:
            for whole in _cuts_of(cuts, own):
                for segment in own[whole.id]:
                    cut = _segment_cut(whole, segment)
                    mark_origin(cut, origin.teacher)
                    if "relevance" in places:
                        writer.store_map(cut, "relevance", read_array(places["relevance"][segment.id]))
                    cut.embedding = writer.store(f"{cut.id}-embedding", read_array(places["embedding"][segment.id]))
                    yield cut

    _write(attached(), out / "cuts.jsonl.gz")


def write_utterance_cuts(out: Path, cuts: Path, origin: Origin) -> None:
    """``out/utterances.jsonl.gz``: a cut for each utterance with ``relevance_NAME`` for each curve.

    With the full utterance explained also its ``embedding``, ``top_classes`` and ``top_cosines``.
    """
    places = {name: _table(out / "curves" / name / "relevance.scp") for name in origin.curves}
    answers = {kind: _table(out / "curves" / FULL / f"{kind}.scp") for kind in OF_UTTERANCES}

    def attached() -> Generator[Any]:
        with ArrayWriter(out / "arrays" / "utterances.h5") as writer:
            for cut in _cuts_of(cuts, places[FUSED]):
                mark_origin(cut, origin.teacher)
                for name, table in places.items():
                    if cut.id in table:
                        writer.store_map(cut, f"relevance_{name}", read_array(table[cut.id]))
                for kind, table in answers.items():
                    if cut.id in table:
                        setattr(cut, kind, writer.store(f"{cut.id}-{kind}", read_array(table[cut.id])))
                yield cut

    _write(attached(), out / "utterances.jsonl.gz")


def _write(cuts: Generator[Any], path: Path) -> None:
    """The arrays are there before the manifest that names them; on an error neither is."""
    with closing(cuts):
        write_cuts(cuts, path)


def _table(scp: Path) -> dict[str, str]:
    return read_table(scp, fields=2) if scp.is_file() and scp.stat().st_size else {}


def _cuts_of(manifest: Path, wanted: Iterable[str]) -> Iterator[Any]:
    """The cuts of the wanted utterances, one at a time in memory."""
    from lhotse import CutSet

    missing = dict.fromkeys(wanted)
    for cut in CutSet.from_file(manifest):
        if cut.id in missing:
            del missing[cut.id]
            yield cut
    if missing:
        raise UserError(f"{manifest}: holds no cut {next(iter(missing))}: run stage 0 again (--stage 0 --force true)")


def _segment_cut(cut: Any, segment: Segment) -> Any:
    offset = segment.start / FRAMES_PER_SECOND
    length = min(segment.frames / FRAMES_PER_SECOND, cut.duration - offset)
    part = cut.truncate(offset=offset, duration=length)
    part.id = segment.id
    return part
