"""The work of a job of stage 3, utterance by utterance: which windows, what of them is kept, and where."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imlkd.attribution.curves import FULL, FUSED, curve_names, curve_windows, curves_of, distinct
from imlkd.attribution.journal import Journal, Record
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.targets import KINDS, Explainer, Target
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.files import atomic_open
from imlkd.kaldi_io import ArkWriter, FloatArray, read_array, read_table, sort_ids
from imlkd.progress import Progress

CHUNK = 16  # utterances that are explained together, and lost together when the job is killed
OF_UTTERANCES = ("embedding", "top_classes", "top_cosines")  # kept of the full utterance, beside its curve


@dataclass(frozen=True)
class Work:
    """What is to be explained of one utterance.

    :param segments: those that students train on.
    :param windows: those of each curve; many coincide with segments, or with each other.
    """

    utterance: str
    frames: int
    segments: list[Segment]
    windows: dict[str, list[Segment]]

    @property
    def every(self) -> list[Segment]:
        """Each once."""
        return distinct(self.windows, self.segments)


def plan_work(data_dir: Path, segments: Iterable[Segment], config: RelevanceConfig, job: int, nj: int) -> list[Work]:
    """The ``job``-th of ``nj`` shares of the utterances of a data directory, in C order.

    :param segments: of all of them; those of other shares are not kept.
    """
    table = read_table(data_dir / "utt2num_frames", fields=2)
    marks = read_table(data_dir / "vad.scp", fields=2)
    names = sort_ids(table)
    share = names[len(names) * (job - 1) // nj : len(names) * job // nj]
    own: dict[str, list[Segment]] = {name: [] for name in share}
    for segment in segments:
        if segment.utterance not in table:
            raise UserError(
                f"{data_dir}/utt2num_frames: lacks {segment.utterance}, which segments come from: run stage 1 again"
            )
        if segment.utterance in own:
            own[segment.utterance].append(segment)
    work = []
    for name in share:
        speech = {name: read_array(marks[name])} if name in marks else {}
        windows = curve_windows(name, int(table[name]), speech, config.segments, config.full)
        work.append(Work(name, int(table[name]), own[name], windows))
    return work


def explain_utterances(
    explainer: Explainer, work: list[Work], journal: Journal, label: str, progress: Path | None
) -> None:
    """Explain what the journal does not hold yet, and append it chunk by chunk."""
    finished = set(journal.keys)
    with Progress(label, sum(len(one.every) for one in work), progress) as counted:
        counted.update(sum(len(one.every) for one in work if one.utterance in finished))
        for first in range(0, len(work), CHUNK):
            waiting = [one for one in work[first : first + CHUNK] if one.utterance not in finished]
            found: dict[str, Target] = {}
            started = time.perf_counter()
            for target in explainer.targets([window for one in waiting for window in one.every]):
                found[target.segment.id] = target
                counted.update()
            seconds = (time.perf_counter() - started) / max(1, sum(target.nodes for target in found.values()))
            journal.append([_record(one, found, seconds, explainer.config) for one in waiting])


def _record(work: Work, found: Mapping[str, Target], seconds: float, config: RelevanceConfig) -> Record:
    """An utterance's part of the journal: arrays by ``KIND/segment``, ``curve/NAME``, ``convergence/window``."""
    arrays = {f"{kind}/{s.id}": found[s.id].arrays[kind] for s in work.segments for kind in KINDS}
    targets = [found[window.id] for window in work.every]
    for target in targets:
        arrays[f"convergence/{target.segment.id}"] = np.array([target.nodes, target.error], np.float32)
    kept = [target for target in targets if not config.excludes(target.error)]
    curves = curves_of(work.windows, {t.segment.id: t.arrays["relevance"] for t in kept}, work.frames)
    arrays |= {f"curve/{name}": curve.values for name, curve in curves.items()}
    for window in work.windows.get(FULL, []):
        arrays |= {f"{FULL}/{kind}": found[window.id].arrays[kind] for kind in OF_UTTERANCES}
    arrays["seconds"] = np.array([seconds * sum(target.nodes for target in targets)], np.float32)
    return work.utterance, arrays


def write_job(records: Iterable[Record], work: list[Work], out: Path, job: int, config: RelevanceConfig) -> list[Path]:
    """Arks and tables of a job from its journal, one record in memory at a time; returns the files."""
    by_name = {one.utterance: one for one in work}
    names = curve_names(config.segments, config.full)
    tables: dict[Path, list[str]] = {out / f"{name}.{job}.txt": [] for name in ("convergence", "windows", "cost")}
    tables |= {out / "curves" / name / f"convergence.{job}.txt": [] for name in names}
    with ExitStack() as stack:
        writers = {
            stem: stack.enter_context(ArkWriter(out / f"{stem}.{job}.ark", out / f"{stem}.{job}.scp"))
            for stem in ark_stems(config)
        }
        for utterance, arrays in records:
            one = by_name[utterance]
            for segment in one.segments:
                if not config.excludes(float(arrays[f"convergence/{segment.id}"][1])):
                    for kind in KINDS:
                        writers[kind].write(segment.id, arrays[f"{kind}/{segment.id}"])
            for name in (*names, FUSED):
                if f"curve/{name}" in arrays:
                    writers[f"curves/{name}/relevance"].write(utterance, arrays[f"curve/{name}"])
            for kind in OF_UTTERANCES:
                if f"{FULL}/{kind}" in arrays:
                    writers[f"curves/{FULL}/{kind}"].write(utterance, arrays[f"{FULL}/{kind}"])
            for path, line in _lines(one, arrays, out, job):
                tables[path].append(line)
    for path, lines in tables.items():
        with atomic_open(path) as stream:
            stream.writelines(f"{line}\n" for line in sorted(lines, key=str.encode))
    return [*tables, *(out / f"{stem}.{job}.{end}" for stem in writers for end in ("ark", "scp"))]


def ark_stems(config: RelevanceConfig) -> list[str]:
    """Names of the arks without job and ending: those of segments, then those of utterances."""
    stems = [*KINDS, *(f"curves/{name}/relevance" for name in (*curve_names(config.segments, config.full), FUSED))]
    return stems + ([f"curves/{FULL}/{kind}" for kind in OF_UTTERANCES] if config.full else [])


def _lines(work: Work, arrays: Mapping[str, FloatArray], out: Path, job: int) -> Iterator[tuple[Path, str]]:
    """Lines of the job's tables, each with its table."""

    def of(window: Segment) -> tuple[int, float]:
        nodes, error = arrays[f"convergence/{window.id}"]
        return int(nodes), float(error)

    for table, windows in (("convergence", work.segments), ("windows", work.every)):
        for window in windows:
            nodes, error = of(window)
            yield out / f"{table}.{job}.txt", f"{window.id} {nodes} {error:.5f}"
    for name, own in work.windows.items():
        if own:  # the utterance's worst window stands for it
            nodes, error = max(map(of, own), key=lambda pair: pair[1])
            path = out / "curves" / name / f"convergence.{job}.txt"
            yield path, f"{work.utterance} {max(of(window)[0] for window in own)} {error:.5f}"
    yield out / f"cost.{job}.txt", f"{work.utterance} {arrays['seconds'][0]:.4f}"
