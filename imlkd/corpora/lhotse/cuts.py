"""Kaldi data directories as Lhotse cuts and back: one ``MonoCut`` with one supervision per utterance.

| Kaldi                     | Lhotse                                             |
|---------------------------|----------------------------------------------------|
| utterance id              | cut id, supervision id                             |
| utt2spk, spk2gender       | supervision speaker, gender                        |
| text, utt2lang            | supervision text, language                         |
| segments                  | cut start and duration, whole samples; the times as written in custom ``kaldi_segment`` |
| utt2NAME, spk2NAME        | supervision custom ``NAME``, ``spk2NAME``          |
| wav.scp                   | recording id and source (file, or command of a pipe) |
| utt2lhotse                | all that has no place in the others (``imlkd.corpora.lhotse.remainder``) |

Recordings are built from exact sample counts: Lhotse's own importer floors durations to 1 ms.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import InvalidOperation
from pathlib import Path
from typing import Any

from imlkd.corpora.audio import AudioInfo, Source, probe, resolve_sources
from imlkd.corpora.kaldi_dir import (
    CARRIED,
    COMPLETE,
    OWN_TABLES,
    DataDir,
    Segment,
    check_data_dir,
    group_by_speaker,
    round_to_sample,
    seconds_text,
)
from imlkd.corpora.lhotse import remainder
from imlkd.corpora.lhotse.storages import refuse_leaving
from imlkd.errors import UserError
from imlkd.files import atomic_open, os_errors, parse_json
from imlkd.kaldi_io import sort_ids

SEGMENT = "kaldi_segment"
_LONGEST_LINE = 1 << 26  # letters
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}


def to_cuts(data: DataDir, allow_pipes: bool = False) -> list[Any]:
    """Cuts of all utterances, in C order of their ids or in that of the manifest that they come from.

    Lengths come from the audio headers.

    :raises UserError: see ``resolve_sources`` and ``probe``; for a segment that begins behind the end of its recording.
    """
    sources = resolve_sources(data, allow_pipes).by_recording
    return build_cuts(data, {recording: (source, probe(source)) for recording, source in sources.items()})


def build_cuts(data: DataDir, recordings: Mapping[str, tuple[Source, AudioInfo]]) -> list[Any]:
    """``to_cuts`` for audio whose headers are known already."""
    built = {key: build_recording(source, info) for key, (source, info) in recordings.items()}
    rest = data.extra.get(remainder.TABLE, {})
    return [
        _restored(_build_cut(data, utterance, built[data.recording(utterance)]), rest.get(utterance), data)
        for utterance in remainder.in_order(data.utt2spk, rest)
    ]


def _restored(cut: Any, rest: str | None, data: DataDir) -> Any:
    from lhotse.serialization import deserialize_item

    if rest is None:
        return cut
    found = remainder.read_remainder(rest, f"{data.table(remainder.TABLE)}: {cut.id}")
    return deserialize_item(remainder.restored(cut.to_dict(), found))


def build_recording(source: Source, info: AudioInfo) -> Any:
    """A Lhotse recording with the exact number of samples; FLAC stays a plain path."""
    from lhotse import Recording
    from lhotse.audio import AudioSource

    return Recording(
        id=source.recording,
        sources=[AudioSource("command" if source.is_pipe else "file", list(range(info.channels)), source.value)],
        sampling_rate=info.sample_rate,
        num_samples=info.samples,
        duration=info.samples / info.sample_rate,
    )


def _build_cut(data: DataDir, utterance: str, recording: Any) -> Any:
    from lhotse import MonoCut, SupervisionSegment

    rate, first, end, custom = recording.sampling_rate, 0, recording.num_samples, None
    if data.segments is not None:
        segment = data.segments[utterance]
        first, end = segment.bounds(rate, recording.num_samples)
        custom = segment_field(data, utterance, segment, rate, recording.num_samples)
        if not first < end <= recording.num_samples:
            length = seconds_text(recording.num_samples, rate)
            raise UserError(
                f"{data.table('segments')}: {utterance}: {segment.start} to {segment.end} s of recording "
                f"{recording.id}, which is {length} s long: mend the line or remove the utterance"
            )
    speaker = data.utt2spk[utterance]
    supervision = SupervisionSegment(
        id=utterance,
        recording_id=recording.id,
        start=0.0,
        duration=(end - first) / rate,
        channel=0,
        speaker=speaker,
        gender=(data.spk2gender or {}).get(speaker),
        text=data.extra.get("text", {}).get(utterance),
        language=data.extra.get("utt2lang", {}).get(utterance),
        custom=custom_fields(data, utterance, speaker) or None,
    )
    return MonoCut(utterance, first / rate, (end - first) / rate, 0, [supervision], recording=recording, custom=custom)


def segment_field(data: DataDir, utterance: str, segment: Segment, rate: int, samples: int) -> dict[str, str] | None:
    """The cut's field with the times as written, where whole samples alone would not give them back.

    A segment that is a whole recording of the same id has it too: it tells that there is a table of segments.
    """
    first, end = segment.bounds(rate, samples)
    usual = (seconds_text(first, rate), seconds_text(end, rate))
    is_whole = utterance == segment.recording and (first, end) == (0, samples)
    return {SEGMENT: f"{segment.start} {segment.end}"} if is_whole or (segment.start, segment.end) != usual else None


def custom_fields(data: DataDir, utterance: str, speaker: str) -> dict[str, str]:
    """What ``utt2*`` and ``spk2*`` tables say of an utterance, by the name of the custom field."""
    custom: dict[str, str] = {}
    for name, table in data.extra.items():
        key, wanted = (name, speaker) if name.startswith("spk2") else (name.removeprefix("utt2"), utterance)
        if name not in ("text", "utt2lang", remainder.TABLE) and wanted in table:
            custom[key] = table[wanted]
    return custom


def write_cuts(cuts: Iterable[Any], path: Path | str) -> None:
    """Write cuts as ``.jsonl.gz``, atomically; the same cuts give the same bytes (Lhotse's writer stores the time)."""
    path = Path(path)
    if path.suffixes[-2:] != [".jsonl", ".gz"]:
        raise UserError(f"{path}: cuts are written as .jsonl.gz: choose such a name")
    with (
        atomic_open(path, "wb") as stream,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as text,
    ):
        text.writelines(json.dumps(cut.to_dict(), ensure_ascii=False) + "\n" for cut in cuts)


def read_cuts(path: Path | str) -> list[Any]:
    """Read a cut manifest (``.jsonl.gz`` or ``.jsonl``) of mono cuts.

    :raises UserError: naming file and line, for damaged content and for anything but a ``MonoCut``.
    """
    from lhotse import MonoCut
    from lhotse.serialization import deserialize_item

    path, cuts = Path(path), []
    for number, line in manifest_lines(path):
        try:
            cut = deserialize_item(parse_json(line))
        except Exception as error:  # Lhotse raises whatever its constructors meet
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            raise UserError(f"{path}:{number}: not a Lhotse cut ({reason}): write the manifest again") from error
        if not isinstance(cut, MonoCut):
            raise UserError(f"{path}:{number}: a {type(cut).__name__}, expected a MonoCut: save mono cuts of the audio")
        cuts.append(cut)
    if not cuts:
        raise UserError(f"{path}: empty manifest: expected one cut a line")
    return cuts


def manifest_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a manifest; UserError for one that is gone, damaged or cut off."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a cut manifest (.jsonl.gz)")
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with os_errors(path), opened(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), ""), start=1):
                if len(line) == _LONGEST_LINE:  # a few packed bytes may stand for a line of gigabytes
                    raise UserError(f"{path}:{number}: a line of more than {_LONGEST_LINE} letters: no cut is so long")
                yield number, line
    except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}:{number + 1}: damaged or cut off ({error}): write the manifest again") from error


def from_cuts(cuts: Iterable[Any], path: Path | str, say: Callable[[str], object] | None = None) -> DataDir:
    """Tables of the cuts' utterances; the utterance id is the cut's id, the order becomes Kaldi's.

    Without ``segments`` when each cut is a whole recording of the same id. Custom fields of cut and supervision that
    are text or numbers become ``utt2NAME``; what has no place in a table is kept in ``utt2lhotse``.

    :param path: where the cuts come from, for messages.
    :param say: receives one line on custom fields that have no place in a table.
    :raises UserError: naming the cut, when it has no speaker or several supervisions, isn't channel 0 of a mono
        recording read from one file or command without transforms, or contradicts another cut.
    """
    source = Path(path)
    ordered = _by_id(cuts, source)
    left_out: Counter[str] = Counter()
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav", "utt2spk", "spk2gender", "utt2dur")}
    extra: dict[str, dict[str, str]] = {}
    segments: dict[str, Segment] = {}
    whole = True
    for utterance in sort_ids(ordered):
        cut = ordered[utterance]
        where = f"{source}: cut {utterance}"
        supervision = _only_supervision(cut, where)
        value = _wav_value(cut, where)
        _put(tables["wav"], cut.recording.id, value, where, "source of its recording")
        tables["utt2spk"][utterance] = supervision.speaker
        if supervision.gender:
            gender = _GENDERS.get(str(supervision.gender).lower())
            if gender is None:
                raise UserError(f"{where}: gender {supervision.gender!r}: expected m or f: mend the supervision")
            _put(tables["spk2gender"], supervision.speaker, gender, where, "gender of its speaker")
        segments[utterance] = _segment(cut)
        whole = whole and SEGMENT not in (cut.custom or {}) and _is_whole(cut)
        tables["utt2dur"][utterance] = seconds_text(cut.num_samples, cut.sampling_rate)
        values, homeless = _extra_values(cut, supervision)
        left_out.update(homeless)
        for name, value in values.items():
            key = supervision.speaker if name.startswith("spk2") else utterance
            _put(extra.setdefault(name, {}), key, value, where, name)
    if left_out and say:
        fields = ", ".join(f"{name} ({count} cuts)" for name, count in sorted(left_out.items()))
        say(f"{source}: custom fields that fit no Kaldi table are kept in {remainder.TABLE}: {fields}")
    data = _data_dir(source, tables, None if whole else segments, extra)
    data = _drop_partial(data, say)
    check_data_dir(data)
    return _with_remainders(data, ordered)


def _with_remainders(data: DataDir, ordered: Mapping[str, Any]) -> DataDir:
    """``data`` with the table of what the others do not give back; ``ordered``: cuts as their manifest has them."""
    table: dict[str, str] = {}
    is_sorted = list(ordered) == data.utterances
    for place, (utterance, cut) in enumerate(ordered.items()):
        rest = remainder.remainder_of(cut.to_dict(), _build_cut(data, utterance, cut.recording).to_dict())
        if not is_sorted:
            rest[remainder.ORDER] = place
        if rest:
            table[utterance] = remainder.write_remainder(rest)
    if not table:
        return data
    return replace(data, extra={**data.extra, remainder.TABLE: {key: table[key] for key in sort_ids(table)}})


def _by_id(cuts: Iterable[Any], source: Path) -> dict[str, Any]:
    by_id: dict[str, Any] = {}
    for cut in cuts:
        if by_id.setdefault(cut.id, cut) is not cut:
            raise UserError(f"{source}: cut {cut.id} is there twice: keep one, or give the cuts ids of their own")
    return by_id


def _data_dir(
    path: Path, tables: dict[str, dict[str, str]], segments: dict[str, Segment] | None, extra: dict[str, dict[str, str]]
) -> DataDir:
    sorted_tables = {name: {key: table[key] for key in sort_ids(table)} for name, table in tables.items()}
    return DataDir(
        path=path,
        wav=sorted_tables["wav"],
        segments=segments,
        utt2spk=sorted_tables["utt2spk"],
        spk2utt=group_by_speaker(tables["utt2spk"]),
        spk2gender=sorted_tables["spk2gender"] or None,
        utt2dur=sorted_tables["utt2dur"],
        extra={name: {key: table[key] for key in sort_ids(table)} for name, table in sorted(extra.items())},
    )


def _drop_partial(data: DataDir, say: Callable[[str], object] | None) -> DataDir:
    """Leave out the tables that Kaldi wants for all ids or none."""
    partial: set[str] = set()
    for name, table in {"spk2gender": data.spk2gender or {}, **data.extra}.items():
        ids = len(data.spk2utt if name.startswith("spk2") else data.utt2spk)
        if name in COMPLETE and 0 < len(table) < ids:
            partial.add(name)
            if say:
                say(f"{data.path}: {name} is known for {len(table)} of {ids} ids: the table is left out")
    extra = {name: table for name, table in data.extra.items() if name not in partial}
    return replace(data, spk2gender=None if "spk2gender" in partial else data.spk2gender, extra=extra)


def _only_supervision(cut: Any, where: str) -> Any:
    count = len(cut.supervisions)
    if count != 1:
        raise UserError(f"{where}: {count} supervisions, expected 1: cut to one (cuts.trim_to_supervisions())")
    if not cut.supervisions[0].speaker:
        raise UserError(f"{where}: its supervision has no speaker: set it, or leave the cut out")
    return cut.supervisions[0]


def _wav_value(cut: Any, where: str) -> str:
    recording = cut.recording
    if recording is None:
        raise UserError(f"{where}: no recording: features alone aren't enough, attach the audio")
    if recording.num_channels != 1 or cut.channel != recording.channel_ids[0]:
        raise UserError(f"{where}: {recording.num_channels} channels, expected 1: save one as a file of its own")
    if recording.transforms:
        raise UserError(f"{where}: its audio is changed on the fly: save it (cuts.save_audios()) and use those cuts")
    origin = recording.sources[0]
    if origin.type == "command":
        return f"{origin.source} |"
    if origin.type != "file":
        raise UserError(f"{where}: audio of type {origin.type}, expected a file: save it (cuts.save_audios())")
    if not isinstance(origin.source, str):
        raise UserError(f"{where}: the audio is no path: save it (cuts.save_audios())")
    refuse_leaving(origin.source, where)
    return origin.source


def _segment(cut: Any) -> Segment:
    """The cut's times: those it was made from when they still fit, to the sample."""
    rate, total = cut.sampling_rate, cut.recording.num_samples
    first = round_to_sample(repr(cut.start), rate)
    times = str((cut.custom or {}).get(SEGMENT, "")).split()
    if len(times) == 2 and all(re.fullmatch(r"-?[\d.e+-]+", time) for time in times):
        segment = Segment(cut.recording.id, *times)
        with contextlib.suppress(InvalidOperation):
            if segment.bounds(rate, total) == (first, first + cut.num_samples):
                return segment
    return Segment(cut.recording.id, seconds_text(first, rate), seconds_text(first + cut.num_samples, rate))


def _is_whole(cut: Any) -> bool:
    return bool(cut.id == cut.recording.id and cut.start == 0 and cut.num_samples == cut.recording.num_samples)


def _extra_values(cut: Any, supervision: Any) -> tuple[dict[str, str], list[str]]:
    """Values by table name, and the names of fields that no table can hold."""
    values: dict[str, str] = {}
    homeless: list[str] = []
    if supervision.text is not None:
        values["text"] = remainder.table_text(supervision.text)
    if supervision.language:
        values["utt2lang"] = supervision.language
    for key, value in {**(cut.custom or {}), **(supervision.custom or {})}.items():
        table = key if key.startswith("spk2") else f"utt2{key}"
        text = remainder.table_text(value) if isinstance(value, str | int | float) else ""
        if text and CARRIED.fullmatch(table) and table not in (*OWN_TABLES, remainder.TABLE, *values):
            values[table] = text
        elif key != SEGMENT:
            homeless.append(key)
    return {name: value for name, value in values.items() if name != f"utt2{SEGMENT}"}, homeless


def _put(table: dict[str, str], key: str, value: str, where: str, what: str) -> None:
    if table.setdefault(key, value) != value:
        raise UserError(f"{where}: {what} ({key}) is {value!r} here and {table[key]!r} in another cut: make them agree")
