"""Lengths of recordings as tables state them, for a corpus whose audio isn't opened."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from imlkd.corpora.audio import AudioInfo, resolve_sources
from imlkd.corpora.check import Recording
from imlkd.corpora.kaldi_dir import DataDir, round_to_sample
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table


def stated_recordings(data: DataDir, sample_rate: int, allow_pipes: bool = False) -> dict[str, Recording]:
    """Recordings with the lengths of ``reco2dur``, or of ``utt2dur`` where each recording is one utterance.

    :param sample_rate: Hz, taken for granted as is one channel.
    :raises UserError: when no table states them, or a segment ends behind its recording.
    """
    seconds, where = _lengths(data)
    recordings: dict[str, Recording] = {}
    for key, source in resolve_sources(data, allow_pipes).by_recording.items():
        if key not in seconds:
            raise UserError(f"{where}: {key} has no line: add it, or look at the audio (--check headers)")
        try:
            samples = round_to_sample(seconds[key], sample_rate)
        except InvalidOperation:
            samples = 0
        if samples < 1:
            raise UserError(f"{where}: {key}: expected seconds above 0, found {seconds[key]!r}: mend the line")
        recordings[key] = Recording(source, AudioInfo(samples, sample_rate, 1), None)
    for utterance, segment in (data.segments or {}).items():
        samples = recordings[segment.recording].info.samples
        if segment.bounds(sample_rate, samples)[1] > samples:
            length = Decimal(samples) / sample_rate
            raise UserError(
                f"{data.table('segments')}: {utterance}: ends at {segment.end} s, its recording at {length} s by "
                f"{where}: mend the line"
            )
    return recordings


def _lengths(data: DataDir) -> tuple[Mapping[str, str], str]:
    table = Path(data.path) / "reco2dur"
    if not data.is_manifest and table.is_file():
        return read_table(table, fields=2), str(table)
    if data.segments is None and data.utt2dur is not None:
        return data.utt2dur, data.table("utt2dur")
    raise UserError(f"{table}: no such file: with --check none the lengths must stand there (or --check headers)")
