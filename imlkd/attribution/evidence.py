"""Evidence, of stage 3: contiguous segments of each curve that carry the speaker, and their soft mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from imlkd.attribution.curves import FUSED, curve_names
from imlkd.attribution.relevance import EvidenceConfig, RelevanceConfig
from imlkd.attribution.segmentation.graph import Graph, Marks, batch_of
from imlkd.attribution.segments import evidence_log_odds, get_backend, runs_of
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment, read_segments, write_segments
from imlkd.files import atomic_write_text
from imlkd.kaldi_io import ArkWriter, FloatArray, join_scps, read_array, read_table, sort_ids

TOGETHER = 32  # utterances whose curves are segmented in one call
TABLE, MASK = "evidence", "mask"  # names in the folder of a curve


def find_evidence(curves: Sequence[FloatArray], config: EvidenceConfig) -> list[tuple[Marks, FloatArray]]:
    """For each relevance curve (T,) the frames of its segments, and each frame's posterior, in [0, 1]; (T,) both."""
    on, off = (max(1, round(seconds * FRAMES_PER_SECOND)) for seconds in (config.minimum, config.gap))
    log_odds = [evidence_log_odds(curve, config.level) for curve in curves]
    batch, backend = batch_of(log_odds, Graph(on, off, config.penalty)), get_backend(config.backend)
    masks = [posterior[:, 1].astype(np.float32) for posterior in backend.posteriors(batch)]
    return list(zip(backend.best(batch), masks, strict=True))


def write_evidence(out: Path, job: int, config: RelevanceConfig) -> list[Path]:
    """Of the curves that a job has written: a table and an ark of masks beside each; returns the files."""
    if config.evidence.minimum == 0:
        return []
    folders = _folders(out, config)
    tables = {name: _entries(folder / f"relevance.{job}.scp") for name, folder in folders.items()}
    found: dict[str, list[Segment]] = {name: [] for name in folders}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ArkWriter(folder / f"{MASK}.{job}.ark", folder / f"{MASK}.{job}.scp"))
            for name, folder in folders.items()
        }
        for places in _together(tables):
            curves = [read_array(tables[name][utterance]) for utterance, name in places]
            for (utterance, name), (marks, mask) in zip(places, find_evidence(curves, config.evidence), strict=True):
                writers[name].write(utterance, mask)
                found[name] += [Segment(utterance, start, end - start) for start, end in runs_of(marks)]
    for name, folder in folders.items():
        write_segments(folder / f"{TABLE}.{job}", found[name])
    parts = (f"{MASK}.{job}.ark", f"{MASK}.{job}.scp", f"{TABLE}.{job}")
    return [folder / part for folder in folders.values() for part in parts]


def join_evidence(out: Path, nj: int, config: RelevanceConfig) -> list[str]:
    """Join what the jobs found, or remove what an earlier run did; returns a line for each curve."""
    if config.evidence.minimum == 0:
        for path in [*out.glob(f"curves/*/{TABLE}*"), *out.glob(f"curves/*/{MASK}.*")]:
            path.unlink()
        return []
    said = []
    for name, folder in _folders(out, config).items():
        parts = [folder / f"{MASK}.{job}.scp" for job in range(1, nj + 1)]
        if not any(part.stat().st_size for part in parts):
            (folder / f"{MASK}.scp").unlink(missing_ok=True)  # no utterance is as long as this duration
            (folder / TABLE).unlink(missing_ok=True)
            continue
        join_scps(parts, folder / f"{MASK}.scp")
        lines = [line for job in range(1, nj + 1) for line in (folder / f"{TABLE}.{job}").read_text().splitlines()]
        atomic_write_text(folder / TABLE, "".join(f"{line}\n" for line in sort_ids(lines)))
        lengths = [segment.frames for segment in read_segments(folder / TABLE)] if lines else [0]
        seconds = np.mean(lengths) / FRAMES_PER_SECOND
        said.append(f"evidence of {name}: {len(lines)} segments of {seconds:.2f} s in the mean")
    return said


def _folders(out: Path, config: RelevanceConfig) -> dict[str, Path]:
    return {name: out / "curves" / name for name in (*curve_names(config.segments, config.full), FUSED)}


def _entries(scp: Path) -> dict[str, str]:
    return read_table(scp, fields=2) if scp.stat().st_size else {}


def _together(tables: dict[str, dict[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """(utterance, curve) of all curves of some utterances."""
    utterances = sort_ids({utterance for table in tables.values() for utterance in table})
    for first in range(0, len(utterances), TOGETHER):
        own = utterances[first : first + TOGETHER]
        yield [(utterance, name) for utterance in own for name, table in tables.items() if utterance in table]
