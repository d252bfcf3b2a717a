"""The lines of a cut manifest straight from tables, as Lhotse writes them, without an object for each utterance.

A million utterances pass through one at a time: ``imlkd.corpora.lhotse.cuts.build_cuts`` would hold 5 GB of objects.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imlkd.corpora.check import Recording
from imlkd.corpora.kaldi_dir import DataDir
from imlkd.corpora.lhotse import remainder
from imlkd.corpora.lhotse.cuts import custom_fields, segment_field
from imlkd.files import atomic_open

_LEVEL = 3  # of gzip: half the time of 6 for 4 % more bytes


def cut_lines(data: DataDir, recordings: Mapping[str, Recording]) -> Iterator[dict[str, Any]]:
    """One dictionary an utterance, equal to ``cut.to_dict()`` of ``build_cuts``, in the same order.

    Segments must have passed the check: they end inside their recordings.
    """
    gender, text, language = data.spk2gender or {}, data.extra.get("text", {}), data.extra.get("utt2lang", {})
    rest = data.extra.get(remainder.TABLE, {})
    for utterance in remainder.in_order(data.utt2spk, rest) if rest else data.utt2spk:
        speaker = data.utt2spk[utterance]
        recording = recordings[data.recording(utterance)]
        rate, samples = recording.info.sample_rate, recording.info.samples
        first, end = 0, samples
        if data.segments is not None:
            first, end = data.segments[utterance].bounds(rate, samples)
        supervision: dict[str, Any] = {
            "id": utterance, "recording_id": recording.source.recording, "start": 0.0,
            "duration": (end - first) / rate, "channel": 0,
        }  # fmt: skip
        optional = {
            "text": text.get(utterance), "language": language.get(utterance), "speaker": speaker,
            "gender": gender.get(speaker), "custom": custom_fields(data, utterance, speaker) or None,
        }  # fmt: skip
        supervision.update((key, value) for key, value in optional.items() if value is not None)
        line: dict[str, Any] = {
            "id": utterance, "start": first / rate, "duration": (end - first) / rate, "channel": 0,
            "supervisions": [supervision], "recording": _recording(recording),
        }  # fmt: skip
        if data.segments is not None:
            segment = data.segments[utterance]
            custom = segment_field(data, utterance, segment, rate, samples)
            line |= {"custom": custom} if custom else {}
        line["type"] = "MonoCut"
        if utterance in rest:
            line = remainder.restored(line, remainder.read_remainder(rest[utterance], data.table(remainder.TABLE)))
        yield line


def write_cut_lines(lines: Iterable[dict[str, Any]], path: Path) -> None:
    """Write a manifest (``.jsonl.gz``), atomically; the same lines give the same bytes."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with (
        atomic_open(path, "wb") as stream,
        gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=stream, mtime=0) as packed,
        io.TextIOWrapper(io.BufferedWriter(packed, 1 << 20), encoding="utf-8") as text,
    ):
        text.writelines(encode(line) + "\n" for line in lines)


def _recording(recording: Recording) -> dict[str, Any]:
    source, info = recording.source, recording.info
    channels = list(range(info.channels))
    return {
        "id": source.recording,
        "sources": [{"type": "command" if source.is_pipe else "file", "channels": channels, "source": source.value}],
        "sampling_rate": info.sample_rate, "num_samples": info.samples, "duration": info.samples / info.sample_rate,
        "channel_ids": channels,
    }  # fmt: skip
