"""From a data directory with features to what the trainer draws from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig
from imlkd.features.extract import FeaturesConfig
from imlkd.features.segments import Segment, SegmentsConfig, dropped_utterances, segment_grid
from imlkd.kaldi_io import read_array, read_scp_arrays, read_table, sort_ids
from imlkd.training.frames import FramesConfig, LazyFrames, frame_store
from imlkd.training.sampling import SegmentPool


def speakers_of(data_dir: Path) -> list[str]:
    """The speakers of a data directory in C order: the order of classes everywhere."""
    return sort_ids(set(read_table(data_dir / "utt2spk", fields=2).values()))


def grid_of(data_dir: Path, config: SegmentsConfig) -> list[Segment]:
    """The training segments of a data directory; says how many utterances give none."""
    table = read_table(data_dir / "utt2num_frames", fields=2)
    speech = read_scp_arrays(data_dir / "vad.scp")
    segments = segment_grid({name: int(frames) for name, frames in table.items()}, speech, config)
    dropped = dropped_utterances(segments, list(table))
    if dropped:
        print(f"{data_dir}: {len(dropped)} of {len(table)} utterances give no segment: {' '.join(dropped[:5])} ...")
    return segments


def load_pool(
    data_dir: Path, segments: list[Segment], classes: list[str], frames: FramesConfig | None = None,
    augment: AugmentConfig | None = None,
) -> SegmentPool:  # fmt: skip
    """The features of all utterances that segments come from: read now, or where ``frames`` says so, when needed.

    :raises UserError: for utterances without features, or shorter ones than their segments.
    """
    if (frames is not None and frames.source != "memory") or (augment is not None and augment.is_on):
        return _lazy_pool(data_dir, segments, classes, frames or FramesConfig(), augment)
    utt2spk = read_table(data_dir / "utt2spk", fields=2)
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
    labels = {name: order[utt2spk[name]] for name in names}
    return SegmentPool(torch.from_numpy(np.concatenate(matrices)), offsets, labels, segments)


def _lazy_pool(
    data_dir: Path, segments: list[Segment], classes: list[str], frames: FramesConfig, augment: AugmentConfig | None
) -> SegmentPool:
    fbank = load_config(FeaturesConfig, data_dir / "features.yaml").fbank
    store = frame_store(frames, data_dir, fbank, augment)
    table = read_table(data_dir / "utt2num_frames", fields=2)
    utt2spk = read_table(data_dir / "utt2spk", fields=2)
    names = list(dict.fromkeys(segment.utterance for segment in segments))
    lacking = [name for name in names if name not in table]
    if lacking:
        raise UserError(f"{data_dir}/utt2num_frames: lacks {lacking[0]} and {len(lacking) - 1} more: run stage 1 again")
    lengths = {name: int(table[name]) for name in names}
    for segment in segments:
        if segment.start + segment.frames > lengths[segment.utterance]:
            raise UserError(f"{data_dir}/utt2num_frames: {segment.id} ends behind it: run stages 1 and 3 again")
    order = {speaker: i for i, speaker in enumerate(classes)}
    lazy = LazyFrames(store, lengths)
    return SegmentPool(lazy, lazy.offsets, {name: order[utt2spk[name]] for name in names}, segments)
