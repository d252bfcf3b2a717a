"""Stage 3 as jobs: each explains its share of the utterances; one joins them and attaches the arrays to the cuts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from imlkd.attribution import table_targets
from imlkd.attribution.curves import curve_names
from imlkd.attribution.evidence import join_evidence, write_evidence
from imlkd.attribution.integrated_gradients import IntegratedGradients
from imlkd.attribution.journal import Journal
from imlkd.attribution.origin import (
    FAILED,
    NO_RELEVANCE,
    OCCLUSION,
    check_origin,
    origin_of,
    save_origin,
    training_segments,
)
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.segments import get_backend
from imlkd.attribution.target_cuts import write_segment_cuts, write_utterance_cuts
from imlkd.attribution.targets import KINDS, classes_of, device_of, explainer_of
from imlkd.attribution.utterances import ark_stems, explain_utterances, plan_work, write_job
from imlkd.config import load_config
from imlkd.corpora.utterance_classes import pass_on
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.segments import each_segment, read_segments
from imlkd.files import atomic_open, atomic_write_text
from imlkd.kaldi_io import join_scps, read_lines, read_table
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model
from imlkd.models.xvector_table import XvectorTable

SAID_OF_OCCLUSION = "the teacher gives no gradient, so its relevance is found by occlusion (relevance.yaml)"


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
    """Explain the ``job``-th of ``nj`` shares of the utterances; what is done already is left alone.

    A finished share has a marker; a share that was killed goes on after the last chunk in its journal.
    """
    marker = DoneMarker(out / f".done.{job}")
    made_from = {"stage": DoneMarker(out / ".done").begun_digest(), "share": f"{job}/{nj}"}
    reason = marker.reason_to_run(made_from)
    if reason is None:
        print(f"job {job}: up to date")
        return
    print(f"job {job}: {reason}")
    marker.begin(made_from)
    torch.set_num_threads(threads or torch.get_num_threads())
    config = load_config(RelevanceConfig, out / "config.yaml")
    origin = origin_of(teacher, config)
    if origin.relevance == NO_RELEVANCE:
        table = load_model(teacher)
        save_origin(origin, out)
        pass_on(teacher, out)
        marker.finish(_look_up(table, teacher, data_dir, out, job, nj, progress))
        return
    if config.evidence.minimum > 0:
        get_backend(config.evidence.backend)  # that it lacks is said now, not after hours
    if origin.relevance == OCCLUSION:
        print(f"job {job}: {SAID_OF_OCCLUSION}", flush=True)
    explainer = explainer_of(teacher, data_dir, config, allow_pipes, device_of(job))
    save_origin(origin, out)  # a teacher that does not load leaves nothing
    pass_on(teacher, out)
    work = plan_work(data_dir, each_segment(out / "segments"), config, job, nj)
    journal = Journal(out / f".journal.{job}", " ".join(made_from.values()))
    if journal.keys:
        damaged = f", {journal.cut_off} damaged bytes behind them cut off" if journal.cut_off else ""
        print(f"job {job}: {len(journal.keys)} of {len(work)} utterances are done already{damaged}", flush=True)
    explain_utterances(explainer, work, journal, f"explain.{job}", progress)
    if isinstance(explainer.engine, IntegratedGradients) and explainer.engine.agreement:
        print(f"job {job}: {explainer.engine.agreement}")
    files = write_job(journal.records(), work, out, job, config)
    marker.finish([*files, *write_evidence(out, job, config)])
    journal.remove()


def _look_up(
    table: SpeakerModel, teacher: Path, data_dir: Path, out: Path, job: int, nj: int, progress: Path | None
) -> list[Path]:
    """A job's share of the segments, of a teacher that is a table."""
    assert isinstance(table, XvectorTable)
    segments = read_segments(out / "segments")
    own = segments[len(segments) * (job - 1) // nj : len(segments) * job // nj]
    return table_targets.write_targets(table, classes_of(data_dir, teacher), own, out, job, progress)


def join_jobs(out: Path, cuts: Path, nj: int) -> str:
    """Join arks and tables, write ``cuts.jsonl.gz`` and ``utterances.jsonl.gz``; returns lines on completeness.

    :raises UserError: when the jobs' tables do not hold exactly the segments, or too many maps fail the tolerance.
    """
    whole = read_segments(out / "segments")
    config = load_config(RelevanceConfig, out / "config.yaml")
    if (origin := check_origin(out)).relevance == NO_RELEVANCE:
        _join_arks(out, nj, table_targets.KINDS, [segment.id for segment in whole])
        write_segment_cuts(out, cuts, whole, origin)
        return f"{len(whole)} segments: embeddings and cosines of the table, no relevance"
    said = _join_tables(out, nj, config)
    segments = training_segments(out)
    _join_arks(out, nj, ark_stems(config), [segment.id for segment in segments])
    write_segment_cuts(out, cuts, segments, origin)
    write_utterance_cuts(out, cuts, origin)
    if origin.relevance == OCCLUSION:  # which knows no completeness
        answers = [int(line.split()[1]) for line in _lines_of(out, "windows", nj)]
        said = f"{SAID_OF_OCCLUSION}: {len(answers)} maps, mean {np.mean(answers):.1f} answers each"
    return "\n".join([said, *join_evidence(out, nj, config)])


def _join_arks(out: Path, nj: int, stems: Sequence[str], expected: list[str]) -> None:
    for stem in stems:
        parts, joined = [out / f"{stem}.{job}.scp" for job in range(1, nj + 1)], out / f"{stem}.scp"
        if stem not in KINDS and not any(part.stat().st_size for part in parts):
            joined.unlink(missing_ok=True)  # no utterance is as long as this duration
            continue
        join_scps(parts, joined)
        if stem in KINDS and list(read_table(joined, fields=2)) != expected:
            raise UserError(f"{joined}: does not hold the segments of {out}/segments: run stage 3 again (--force true)")


def _join_tables(out: Path, nj: int, config: RelevanceConfig) -> str:
    """Join the tables of completeness, list what fails, and sum up."""
    segments = _joined(out, "convergence", nj)
    for name in curve_names(config.segments, config.full):
        _joined(out / "curves" / name, "convergence", nj)
    windows = [line.split() for line in _lines_of(out, "windows", nj)]
    failing = [line for line in windows if float(line[2]) > config.tolerance]
    atomic_write_text(out / FAILED, "".join(f"{' '.join(line)}\n" for line in failing))
    if len(failing) > config.max_failing * len(windows):
        raise UserError(
            f"{out}/{FAILED}: {len(failing)} of {len(windows)} maps ({len(failing) / len(windows):.1%}) miss the"
            f" tolerance of {config.tolerance:.0%}, more than max_failing ({config.max_failing:.0%}) allows:"
            " raise max_nodes, or tolerance or max_failing, in relevance.yaml"
        )
    seconds = sum(float(line.split()[1]) for line in _lines_of(out, "cost", nj))
    return "\n".join([completeness(segments, config.tolerance), _summary(windows, failing, seconds, config)])


def _lines_of(folder: Path, name: str, nj: int) -> list[str]:
    parts = [folder / f"{name}.{job}.txt" for job in range(1, nj + 1)]
    return sorted((line for part in parts for _, line in read_lines(part)), key=str.encode)


def _joined(folder: Path, name: str, nj: int) -> list[str]:
    lines = _lines_of(folder, name, nj)
    with atomic_open(folder / f"{name}.txt") as stream:
        stream.writelines(f"{line}\n" for line in lines)
    return lines


def completeness(lines: list[str], tolerance: float) -> str:
    """A line that says how many segments of a table are over the tolerance."""
    errors = np.array([float(line.split()[2]) for line in lines])
    over = int((errors > tolerance).sum())
    return (
        f"completeness: median error {np.median(errors):.1%}, {over} of {len(errors)} segments"
        f" ({over / len(errors):.1%}) over {tolerance:.0%}"
    )


def _summary(windows: list[list[str]], failing: list[list[str]], seconds: float, config: RelevanceConfig) -> str:
    """A line on all maps: how many, their nodes and cost, and how many utterances hold none that fails."""
    nodes = [int(line[1]) for line in windows]
    utterances = {line[0].rsplit("-", 2)[0] for line in windows}
    poor = {line[0].rsplit("-", 2)[0] for line in failing}
    within = 1 - len(poor) / len(utterances)
    kept = "kept" if config.on_failure == "keep" else "left out"
    gradient = 1000 * seconds / max(1, sum(nodes))
    return (
        f"maps: {len(windows)}, mean {np.mean(nodes):.1f} nodes, {gradient:.1f} ms a gradient; {len(failing)} over"
        f" tolerance ({kept}: {FAILED}); {within:.1%} of {len(utterances)} utterances have none"
    )
