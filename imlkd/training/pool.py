"""From a data directory with features to what the trainer draws from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from imlkd.config import load_config
from imlkd.corpora.disk_table import ByName, DiskTable, values_along
from imlkd.corpora.utterance_classes import class_table, utterance_classes
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig
from imlkd.features.extract import FeaturesConfig
from imlkd.features.segment_table import SegmentTable, grid_on_disk
from imlkd.features.segments import Segment, SegmentsConfig
from imlkd.kaldi_io import read_array, read_table, sort_ids
from imlkd.training.frames import FramesConfig, LazyFrames, frame_store
from imlkd.training.sampling import Indices, SegmentPool


def speakers_of(data_dir: Path) -> list[str]:
    """The speakers of a data directory in C order: the order of classes everywhere."""
    return sort_ids({speaker for _, speaker in DiskTable(data_dir / "utt2spk").lines()})


def grid_of(data_dir: Path, config: SegmentsConfig) -> SegmentTable:
    """The training segments of a data directory; says how many utterances give none."""
    segments, first, dropped = grid_on_disk(data_dir, config)
    if dropped:
        total = len(segments.names) + dropped
        print(f"{data_dir}: {dropped} of {total} utterances give no segment: {' '.join(first)} ...")
    return segments


def load_pool(
    data_dir: Path, segments: Sequence[Segment], classes: list[str], frames: FramesConfig | None = None,
    augment: AugmentConfig | None = None, targets: Path | None = None, allow_pipes: bool = False,
) -> SegmentPool:  # fmt: skip
    """The features of all utterances that segments come from: read now, or where ``frames`` says so, when needed.

    :param classes: names, in order; ``targets`` says whose they are (``utterance_classes``).
    :param allow_pipes: whether commands of wav.scp may run, where features are computed from the audio.
    :raises UserError: for utterances without features, or shorter ones than their segments.
    """
    if (frames is not None and frames.source != "memory") or (augment is not None and augment.is_on):
        return _lazy_pool(data_dir, segments, classes, frames or FramesConfig(), augment, targets, allow_pipes)
    class_of = utterance_classes(data_dir, targets)
    rxfilenames = read_table(data_dir / "feats.scp", fields=2)
    order = {speaker: i for i, speaker in enumerate(classes)}
    last = {s.utterance: s for s in sorted(segments, key=lambda s: s.start + s.frames)}
    names = list(dict.fromkeys(segment.utterance for segment in segments))
    lacking = [name for name in names if name not in rxfilenames]
    if lacking:
        raise UserError(
            f"{data_dir}/feats.scp: lacks {len(lacking)} utterances (first: {lacking[0]}): run stage 1 again"
        )
    matrices, offsets, total = [], {}, 0
    for name in names:
        matrix = read_array(rxfilenames[name])
        if last[name].start + last[name].frames > len(matrix):
            raise UserError(
                f"{data_dir}/feats.scp: {last[name].id} ends behind its features ({len(matrix)} frames):"
                " run stages 1 and 3 again"
            )
        offsets[name], total = total, total + len(matrix)
        matrices.append(matrix)
    labels = _labels(names, class_of, order, data_dir)
    return SegmentPool(torch.from_numpy(np.concatenate(matrices)), offsets, labels, segments)


def _labels(
    names: list[str], class_of: Mapping[str, str], order: Mapping[str, int], data_dir: Path
) -> dict[str, int]:
    lacking = [name for name in names if class_of.get(name) not in order]
    if lacking:
        raise UserError(
            f"{data_dir}: {len(lacking)} utterances have no class (first: {lacking[0]}): give them a speaker in"
            " utt2spk, or with --classes run stage 2 again"
        )
    return {name: order[class_of[name]] for name in names}


def _lazy_pool(
    data_dir: Path, segments: Sequence[Segment], classes: list[str], frames: FramesConfig,
    augment: AugmentConfig | None, targets: Path | None, allow_pipes: bool,
) -> SegmentPool:  # fmt: skip
    """Nothing of an utterance is held in memory but numbers."""
    if not segments:
        return SegmentPool(torch.empty(0, 0), {}, {}, segments)  # which refuses it
    fbank = load_config(FeaturesConfig, data_dir / "features.yaml").fbank
    store = frame_store(frames, data_dir, fbank, augment, allow_pipes)
    table = segments if isinstance(segments, SegmentTable) else _as_table(segments)
    lengths, labels = _lengths_and_labels(data_dir, table.names, classes, targets)
    longer = np.flatnonzero(table.start + table.frames > lengths[table.utterance])
    if len(longer):
        raise UserError(f"{data_dir}/utt2num_frames: {table[longer[0]].id} ends behind it: run stages 1 and 3 again")
    lazy = LazyFrames(store, ByName(table.names, lengths))
    return SegmentPool(lazy, lazy.offsets, ByName(table.names, labels), table)


def _as_table(segments: Sequence[Segment]) -> SegmentTable:
    return SegmentTable.of(segments, sort_ids({segment.utterance for segment in segments}))


def _lengths_and_labels(
    data_dir: Path, names: Sequence[str], classes: list[str], targets: Path | None
) -> tuple[Indices, Indices]:
    """Frames and class of each of ``names``, which are in C order."""
    order = {speaker: i for i, speaker in enumerate(classes)}
    tables = [data_dir / "utt2num_frames", class_table(data_dir, targets)]
    streams = itertools.tee(names, 3)
    found = np.zeros((2, len(names)), dtype=np.int64)
    columns = [values_along(DiskTable(path), stream) for path, stream in zip(tables, streams[1:], strict=True)]
    for number, (name, frames, speaker) in enumerate(zip(streams[0], *columns, strict=True)):
        if frames is None or speaker is None:
            raise UserError(f"{tables[frames is not None]}: lacks {name}: run stages 1 and 2 again")
        found[:, number] = int(frames), order[speaker]
    return found[0], found[1]
