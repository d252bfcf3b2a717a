"""Stage 3 for a teacher that is a table of embeddings: what it has of each utterance, for all segments of it.

There is no network, so there is neither relevance nor an answer to a gated input; where a head is fitted there are
cosines. docs/methods.md says which methods that leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from imlkd.attribution.targets import columns_of
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.kaldi_io import ArkWriter
from imlkd.models.xvector_table import XvectorTable
from imlkd.progress import Progress

KINDS = ("embedding", "cosines")


def known_segments(segments: Sequence[Segment], table: XvectorTable, max_dropped: float) -> list[Segment]:
    """Those whose utterance has an embedding; says how many utterances have none.

    :raises UserError: when that is more than the share ``max_dropped``.
    """
    utterances = list(dict.fromkeys(segment.utterance for segment in segments))
    lacking = set(check_covered(table, utterances, max_dropped))
    return [segment for segment in segments if segment.utterance not in lacking]


def check_covered(table: XvectorTable, utterances: list[str], max_dropped: float) -> list[str]:
    """The utterances without an embedding, which are counted and named.

    :raises UserError: when their share is more than ``max_dropped``.
    """
    lacking = table.lacks(utterances)
    if not lacking:
        return []
    said = f"{len(lacking)} of {len(utterances)} utterances have no embedding (first: {' '.join(lacking[:5])})"
    if len(lacking) > max_dropped * len(utterances):
        raise UserError(
            f"teacher xvectors: {said}, more than max_dropped ({max_dropped:g}) allows: extract them, or raise it"
        )
    print(f"teacher xvectors: {said}: left out", flush=True)
    return lacking


@torch.no_grad()
def write_targets(
    table: XvectorTable, classes: list[str], segments: list[Segment], out: Path, job: int, progress: Path | None
) -> list[Path]:
    """Arks of a job's segments; returns the files.

    :param classes: the students', in order; all must be in the table's head.
    """
    assert table.head is not None
    columns = columns_of(table.head, classes)
    with (
        Progress(f"look up.{job}", len(segments), progress) as counted,
        ArkWriter(out / f"embedding.{job}.ark", out / f"embedding.{job}.scp") as embeddings,
        ArkWriter(out / f"cosines.{job}.ark", out / f"cosines.{job}.scp") as cosines,
    ):
        for segment in segments:
            vector = torch.from_numpy(table.vector(segment.utterance))
            embeddings.write(segment.id, vector.numpy())
            cosines.write(segment.id, np.asarray(table.head(vector[None])[0, columns]))
            counted.update()
    return [out / f"{kind}.{job}.{end}" for kind in KINDS for end in ("ark", "scp")]
