"""From a data directory with features to what the trainer draws from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig, dropped_utterances, segment_grid
from imlkd.kaldi_io import read_array, read_scp_arrays, read_table, sort_ids
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


def load_pool(data_dir: Path, segments: list[Segment], classes: list[str]) -> SegmentPool:
    """Read the features of all utterances that segments come from."""
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
    frames, offsets, total = [], {}, 0
    for name in names:
        matrix = read_array(rxfilenames[name])
        if last[name].start + last[name].frames > len(matrix):
            raise UserError(
                f"{data_dir}/feats.scp: {last[name].id} ends behind its features ({len(matrix)} frames):"
                " run stages 1 and 3 again"
            )
        offsets[name], total = total, total + len(matrix)
        frames.append(matrix)
    labels = {name: order[utt2spk[name]] for name in names}
    return SegmentPool(torch.from_numpy(np.concatenate(frames)), offsets, labels, segments)
