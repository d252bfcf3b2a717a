"""A part of a data directory: some of its utterances, with what belongs to them alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from imlkd.corpora.check import Examined
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker
from imlkd.errors import UserError


def part_of(data: DataDir, utterances: Collection[str]) -> DataDir:
    """``data`` with these of its utterances; recordings, speakers and lines of tables that nothing needs go.

    :raises UserError: when none is left.
    """
    wanted = set(utterances)
    utt2spk = {key: speaker for key, speaker in data.utt2spk.items() if key in wanted}
    if not utt2spk:
        raise UserError(f"{data.path}: no utterance is left")
    spk2utt = group_by_speaker(utt2spk)
    recordings = {data.recording(key) for key in utt2spk}

    def kept(table: dict[str, str] | None, ids: Collection[str]) -> dict[str, str] | None:
        return None if table is None else {key: value for key, value in table.items() if key in ids}

    extra = {name: kept(table, spk2utt if name.startswith("spk2") else utt2spk) for name, table in data.extra.items()}
    return replace(
        data,
        wav={key: value for key, value in data.wav.items() if key in recordings},
        segments=None if data.segments is None else {key: data.segments[key] for key in utt2spk},
        utt2spk=utt2spk,
        spk2utt=spk2utt,
        spk2gender=kept(data.spk2gender, spk2utt),
        utt2dur=kept(data.utt2dur, utt2spk),
        extra={name: table for name, table in extra.items() if table},
    )


def without_bad(data: DataDir, examined: Examined) -> DataDir:
    """``data`` without the utterances that ``examined`` found bad, and without what belonged to them alone.

    :raises UserError: when nothing is left.
    """
    bad = {one.id for one in examined.bad}
    good = {key for key in data.utt2spk if key not in bad and data.recording(key) in examined.recordings}
    if not good:
        raise UserError(f"{data.path}: no utterance has good audio: look at the list of bad ones")
    left = part_of(data, good)
    for key in list(examined.recordings):
        if key not in left.wav:
            del examined.recordings[key]
    return left
