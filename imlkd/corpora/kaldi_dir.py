"""Kaldi data directories: their tables, and the rules that hold between them (Kaldi's ``validate_data_dir.sh``)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path

from imlkd.corpora.folders import install, staging
from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines, read_table, sort_ids, write_table

OVERSHOOT_SECONDS = Decimal("0.01")
OWN_TABLES = ("utt2spk", "utt2dur", "utt2num_frames", "spk2utt", "spk2gender")
CARRIED = re.compile(r"(utt2|spk2)\w+")
# Tables of which Kaldi wants a line for each id; others may cover a part.
COMPLETE = ("spk2gender", "spk2warp", "text", "utt2dur", "utt2lang", "utt2uniq", "utt2warp")


@dataclass(frozen=True)
class Segment:
    """A part of a recording. Times are seconds, kept as written."""

    recording: str
    start: str
    end: str

    def bounds(self, sample_rate: int, recording_samples: int | None = None) -> tuple[int, int]:
        """First sample and the one after the last; times are rounded to the nearest sample (halves go up).

        With ``recording_samples`` an end up to 10 ms behind the recording's is cut to it.
        """
        first, end = round_to_sample(self.start, sample_rate), round_to_sample(self.end, sample_rate)
        overshoot = round_to_sample(OVERSHOOT_SECONDS, sample_rate)
        if recording_samples is not None and recording_samples < end <= recording_samples + overshoot:
            end = recording_samples
        return first, end


@dataclass(frozen=True)
class DataDir:
    """The tables of one data directory; dictionaries are in C order of their ids.

    :param path: the directory, or the file the tables were made from; used in messages and for relative audio paths.
    :param wav: recording -> path, or command that ends in ``|``.
    :param segments: utterance -> part of a recording; None: each recording is one utterance of the same id.
    :param utt2dur: utterance -> seconds, as written.
    :param extra: further tables by name (``text``, ``utt2lang``, ``spk2age`` ...).
    """

    path: Path
    wav: dict[str, str]
    segments: dict[str, Segment] | None
    utt2spk: dict[str, str]
    spk2utt: dict[str, list[str]]
    spk2gender: dict[str, str] | None = None
    utt2dur: dict[str, str] | None = None
    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def utterances(self) -> list[str]:
        """Utterance ids in C order."""
        return list(self.utt2spk)

    def recording(self, utterance: str) -> str:
        """The recording that holds ``utterance``."""
        return utterance if self.segments is None else self.segments[utterance].recording

    @property
    def is_manifest(self) -> bool:
        """Whether the tables were made from a cut manifest."""
        return is_manifest(self.path)

    def table(self, name: str) -> str:
        """How a table is called in messages."""
        if self.is_manifest:
            return f"{self.path}: {'recordings' if name == 'wav.scp' else 'cuts'}"
        return str(self.path / name)


def is_manifest(path: Path) -> bool:
    """Whether ``path`` is called like a cut manifest."""
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def round_to_sample(seconds: str | Decimal, sample_rate: int) -> int:
    """The sample nearest to a time given as text, without a detour through binary fractions."""
    return int((Decimal(seconds) * sample_rate).to_integral_value(ROUND_HALF_UP))


def seconds_text(samples: int, sample_rate: int) -> str:
    """A duration in seconds with the digits that give the same sample again, three at least."""
    whole, fraction = f"{samples / sample_rate:.7f}".split(".")
    return f"{whole}.{fraction.rstrip('0').ljust(3, '0')}"


def group_by_speaker(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """``spk2utt`` of an ``utt2spk``, both sorted in C order."""
    grouped: dict[str, list[str]] = {}
    for utterance in sort_ids(utt2spk):
        grouped.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: grouped[speaker] for speaker in sort_ids(grouped)}


def read_data_dir(path: Path | str) -> DataDir:
    """Read and check a data directory; a missing ``spk2utt`` is made from ``utt2spk``.

    Other tables named ``utt2*`` and ``spk2*``, and ``text``, are carried along; archives (``feats.scp`` ...) are not.

    :raises UserError: naming file and line or id, for whatever ``check_data_dir`` and ``read_table`` refuse.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such data directory: give one that holds wav.scp and utt2spk")
    utt2spk = _required(path / "utt2spk", 2, "one `utterance speaker` line per utterance")
    data = DataDir(
        path=path,
        wav=_required(path / "wav.scp", None, "one `recording path` line per recording"),
        segments=_read_segments(path / "segments"),
        utt2spk=utt2spk,
        spk2utt={key: rest.split() for key, rest in (_optional(path / "spk2utt", None) or {}).items()}
        or group_by_speaker(utt2spk),
        spk2gender=_optional(path / "spk2gender", 2),
        utt2dur=_optional(path / "utt2dur", 2),
        extra=_read_extra(path),
    )
    check_data_dir(data)
    return data


def write_data_dir(data: DataDir, path: Path | str) -> None:
    """Write ``data`` as the directory ``path``, all or nothing; an existing one is replaced as a whole.

    :raises UserError: when the tables contradict each other, or the place is not writable.
    """
    path = Path(path)
    with staging(path.parent) as folder:
        write_tables(data, folder / path.name)
        install(folder / path.name, path)


def write_tables(data: DataDir, folder: Path) -> None:
    """Write the checked tables of ``data`` into ``folder``, sorted; ``spk2utt`` is rebuilt from ``utt2spk``."""
    data = replace(data, spk2utt=group_by_speaker(data.utt2spk))
    check_data_dir(data)
    tables: dict[str, Mapping[str, str]] = {
        "wav.scp": data.wav,
        "utt2spk": data.utt2spk,
        "spk2utt": {speaker: " ".join(utterances) for speaker, utterances in data.spk2utt.items()},
        **data.extra,
    }
    if data.segments is not None:
        tables["segments"] = {key: f"{s.recording} {s.start} {s.end}" for key, s in data.segments.items()}
    if data.spk2gender:
        tables["spk2gender"] = data.spk2gender
    if data.utt2dur:
        tables["utt2dur"] = data.utt2dur
    for name, table in tables.items():
        write_table(folder / name, table)


def check_data_dir(data: DataDir) -> None:
    """Check the rules between the tables.

    :raises UserError: for ids with white space, ``utt2spk`` not sorted by speaker, disagreeing ``spk2utt``, utterances
        without audio or audio without utterances, segments of unknown recordings or without length, unknown genders.
    """
    for name, ids in (("wav.scp", data.wav), ("utt2spk", data.utt2spk), ("utt2spk", data.spk2utt)):
        for key in ids:
            if key.split() != [key]:
                raise UserError(f"{data.table(name)}: the id {key!r} holds white space: rename it")
    _check_speakers(data)
    _check_segments(data)
    _check_values(data)


def _required(path: Path, fields: int | None, content: str) -> dict[str, str]:
    if not path.is_file():
        raise UserError(f"{path}: no such file: a Kaldi data directory needs it, with {content}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: empty file: expected {content}")
    return read_table(path, fields)


def _optional(path: Path, fields: int | None) -> dict[str, str] | None:
    return read_table(path, fields) if path.is_file() else None


def _read_segments(path: Path) -> dict[str, Segment] | None:
    table = _optional(path, 4)
    return None if table is None else {key: Segment(*rest.split()) for key, rest in table.items()}


def _read_extra(path: Path) -> dict[str, dict[str, str]]:
    names = sorted(p.name for p in path.iterdir() if CARRIED.fullmatch(p.name) and p.name not in OWN_TABLES)
    extra = {name: read_table(path / name) for name in names if (path / name).is_file()}
    if (path / "text").is_file():
        # Nothing here depends on transcripts, and an empty one is legal.
        parts = (line.partition(" ") for _, line in read_lines(path / "text"))
        extra["text"] = {key: rest.strip() for key, _, rest in parts}
    return extra


def _check_speakers(data: DataDir) -> None:
    previous = ("", "")
    for utterance, speaker in data.utt2spk.items():
        if speaker.encode() < previous[0].encode():
            raise UserError(
                f"{data.table('utt2spk')}: {utterance}: sorted by utterance, the speakers are not sorted ({speaker} "
                f"after {previous[0]}): begin each utterance id with its speaker's, as {speaker}-{utterance}"
            )
        previous = (speaker, utterance)
    listed = {utterance: speaker for speaker, utterances in data.spk2utt.items() for utterance in utterances}
    for utterance in sort_ids({*listed, *data.utt2spk}):
        ours, theirs = data.utt2spk.get(utterance), listed.get(utterance)
        if ours != theirs:
            raise UserError(
                f"{data.table('spk2utt')}: {utterance} belongs to {theirs or 'no speaker'}, in utt2spk to "
                f"{ours or 'no speaker'}: mend utt2spk, then `utils/utt2spk_to_spk2utt.pl utt2spk > spk2utt`"
            )
    if sum(map(len, data.spk2utt.values())) != len(listed):
        raise UserError(f"{data.table('spk2utt')}: an utterance is listed twice: rebuild it from utt2spk")


def _check_segments(data: DataDir) -> None:
    wav, utt2spk = data.table("wav.scp"), data.table("utt2spk")
    if data.segments is None:
        _same_ids(data.utt2spk, data.wav, f"{utt2spk}: utterances without a line in wav.scp")
        _same_ids(data.wav, data.utt2spk, f"{wav}: ids without a line in utt2spk")
        return
    name = data.table("segments")
    _same_ids(data.utt2spk, data.segments, f"{utt2spk}: utterances without a line in segments")
    _same_ids(data.segments, data.utt2spk, f"{name}: utterances without a line in utt2spk")
    used = {segment.recording: None for segment in data.segments.values()}
    _same_ids(used, data.wav, f"{name}: recordings without a line in wav.scp")
    _same_ids(data.wav, used, f"{wav}: recordings without a line in segments")
    for utterance, segment in data.segments.items():
        _check_times(f"{name}: {utterance}", segment)


def _check_times(place: str, segment: Segment) -> None:
    if not 0 <= _seconds(segment.start) < _seconds(segment.end):
        raise UserError(
            f"{place}: expected 0 <= start < end in seconds, found {segment.start} {segment.end}: mend the line"
        )


def _seconds(text: str) -> Decimal:
    """A time as a number; -1 when it is none."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return Decimal(-1)
    return seconds if seconds.is_finite() else Decimal(-1)


def _check_values(data: DataDir) -> None:
    optional = {"spk2gender": data.spk2gender, "utt2dur": data.utt2dur, **data.extra}
    for name, table in optional.items():
        if table is None:
            continue
        known: Collection[str] = data.spk2utt if name.startswith("spk2") else data.utt2spk
        _same_ids(table, known, f"{data.table(name)}: ids without a line in utt2spk")
        if name in COMPLETE:
            _same_ids(known, table, f"{data.table(name)}: ids of utt2spk without a line there")
    for speaker, gender in (data.spk2gender or {}).items():
        if gender not in ("m", "f"):
            raise UserError(f"{data.table('spk2gender')}: {speaker}: expected m or f, found {gender!r}: mend the line")
    for utterance, seconds in (data.utt2dur or {}).items():
        if _seconds(seconds) <= 0:
            place = f"{data.table('utt2dur')}: {utterance}"
            raise UserError(f"{place}: expected seconds above 0, found {seconds!r}: mend the line")


def _same_ids(ids: Collection[str], known: Collection[str], what: str) -> None:
    missing = [key for key in ids if key not in known]
    if missing:
        raise UserError(
            f"{what}: {len(missing)} of {len(ids)}, first: {', '.join(missing[:5])}: add the lines, or drop the ids "
            f"(utils/fix_data_dir.sh); an id can't hold white space"
        )
