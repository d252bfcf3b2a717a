"""Stage 3 as jobs: each explains its share of the segments; one joins them and attaches the arrays to the cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.targets import KINDS, Explainer, join_convergence, write_targets
from imlkd.config import load_config
from imlkd.corpora.cuts import write_cuts
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.features.segments import Segment, read_segments
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import join_scps, read_scp_arrays, read_table, sort_ids
from imlkd.models.store import load_model


def explain_job(
    teacher: Path,
    data_dir: Path,
    out: Path,
    job: int,
    nj: int,
    progress: Path | None,
    allow_pipes: bool = False,
    threads: int = 1,
) -> None:
    """Explain the ``job``-th of ``nj`` shares of ``out/segments``; a share that is done already is left alone."""
    marker = DoneMarker(out / f".done.{job}")
    made_from = {"stage": DoneMarker(out / ".done").begun_digest(), "share": f"{job}/{nj}"}
    reason = marker.reason_to_run(made_from)
    if reason is None:
        print(f"job {job}: up to date")
        return
    print(f"job {job}: {reason}")
    marker.begin(made_from)
    torch.set_num_threads(threads or torch.get_num_threads())
    model = load_model(teacher)
    labels = read_table(data_dir / "utt2spk", fields=2)
    explainer = Explainer(
        model,
        sort_ids(set(labels.values())),
        labels,
        SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes),
        load_config(RelevanceConfig, out / "config.yaml"),
    )
    write_targets(explainer, _share(read_segments(out / "segments"), job, nj), out, job, progress)
    names = [f"{kind}.{job}.{end}" for kind in KINDS for end in ("ark", "scp")] + [f"convergence.{job}.txt"]
    marker.finish([out / name for name in names])


def _share(segments: list[Segment], job: int, nj: int) -> list[Segment]:
    """A contiguous part, so that an utterance's audio is read by one job."""
    bounds = [len(segments) * i // nj for i in range(nj + 1)]
    return segments[bounds[job - 1] : bounds[job]]


def join_jobs(out: Path, cuts: Path, nj: int) -> str:
    """Join scp files and convergence tables, write ``cuts.jsonl.gz``; returns the line on completeness.

    :raises UserError: when the jobs' tables do not hold exactly the segments.
    """
    expected = [segment.id for segment in read_segments(out / "segments")]
    for kind in KINDS:
        joined = out / f"{kind}.scp"
        join_scps([out / f"{kind}.{job}.scp" for job in range(1, nj + 1)], joined)
        if list(read_table(joined, fields=2)) != expected:
            raise UserError(f"{joined}: does not hold the segments of {out}/segments: run stage 3 again (--force true)")
    config = load_config(RelevanceConfig, out / "config.yaml")
    parts = [out / f"convergence.{job}.txt" for job in range(1, nj + 1)]
    said = join_convergence(parts, out / "convergence.txt", config.tolerance)
    attach_to_cuts(out, cuts)
    return said


def attach_to_cuts(out: Path, cuts: Path) -> None:
    """``out/cuts.jsonl.gz``: a cut for each segment, its relevance (TemporalArray) and embedding (Array) attached."""
    from lhotse import CutSet

    from imlkd.attribution.arrays import ArrayWriter

    whole = {cut.id: cut for cut in CutSet.from_file(cuts)}
    arrays = {kind: read_scp_arrays(out / f"{kind}.scp") for kind in ("relevance", "embedding")}
    attached = []
    with ArrayWriter(out / "arrays" / "targets.h5") as writer:
        for segment in read_segments(out / "segments"):
            if segment.utterance not in whole:
                raise UserError(f"{cuts}: holds no cut {segment.utterance}: run stage 0 again (--stage 0 --force true)")
            cut = _segment_cut(whole[segment.utterance], segment)
            cut.relevance = writer.store_array(
                f"{segment.id}-relevance",
                arrays["relevance"][segment.id],
                frame_shift=1 / FRAMES_PER_SECOND,
                temporal_dim=0,
                start=cut.start,
            )
            cut.embedding = writer.store_array(f"{segment.id}-embedding", arrays["embedding"][segment.id])
            attached.append(cut)
    write_cuts(attached, out / "cuts.jsonl.gz")


def _segment_cut(cut: Any, segment: Segment) -> Any:
    offset = segment.start / FRAMES_PER_SECOND
    length = min(segment.frames / FRAMES_PER_SECOND, cut.duration - offset)
    part = cut.truncate(offset=offset, duration=length)
    part.id = segment.id
    return part
