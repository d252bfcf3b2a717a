"""A set of utterances as the user has it, Kaldi tables or a cut manifest: what can be taken of it, and how it is kept.

Parts of a Kaldi directory take their archives' tables along (``feats.scp`` ...); lines of a manifest stay as they are.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imlkd.corpora.audio import resolve_sources
from imlkd.corpora.folders import install, staging
from imlkd.corpora.kaldi_dir import COMPLETE, DataDir, Segment, is_manifest, read_data_dir, write_tables
from imlkd.corpora.lhotse.cuts import manifest_lines
from imlkd.corpora.overlap import check_shared_ids
from imlkd.corpora.reduced import part_of
from imlkd.corpora.relocation import relocated
from imlkd.errors import UserError
from imlkd.files import atomic_open, parse_json
from imlkd.kaldi_io import read_table, sort_ids, write_table

BY_UTTERANCE = ("feats.scp", "vad.scp", "utt2num_frames")
BY_RECORDING = ("reco2dur", "reco2file_and_channel", "reco2sha256")
BY_SPEAKER = ("cmvn.scp",)
Say = Callable[[str], object]


@dataclass(frozen=True)
class KaldiSet:
    """A data directory with the tables of its archives.

    :param more: tables that ``DataDir`` does not carry, by name.
    """

    path: Path
    data: DataDir
    more: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def utt2spk(self) -> Mapping[str, str]:
        """Utterance -> speaker, in the set's own order."""
        return self.data.utt2spk

    @property
    def wav(self) -> Mapping[str, str]:
        """Recording -> path or pipe."""
        return self.data.wav

    def seconds(self) -> dict[str, float]:
        """Lengths, where the set states them."""
        if self.data.utt2dur:
            return {key: float(value) for key, value in self.data.utt2dur.items()}
        if "utt2num_frames" in self.more:
            return {key: float(value) / 100 for key, value in self.more["utt2num_frames"].items()}
        return {key: float(one.end) - float(one.start) for key, one in (self.data.segments or {}).items()}

    def part(self, utterances: Collection[str]) -> KaldiSet:
        """Some of the utterances."""
        data = part_of(self.data, utterances)
        return replace(self, data=data, more=_of_ids(self.more, data))

    def moved(self, old: str, new: str) -> KaldiSet:
        """``new`` for ``old`` at the beginning of the audio's paths."""
        wav = relocated(self.data.wav, old, new, where=self.data.table("wav.scp"))
        return replace(self, data=replace(self.data, wav=wav))

    def write(self, out: Path) -> None:
        """Put it at ``out``, all or nothing."""
        data = replace(self.data, wav=_absolute(self.data))
        with staging(out.absolute().parent) as folder:
            write_tables(data, folder / out.name)
            for name, table in self.more.items():
                write_table(folder / out.name / name, table)
            install(folder / out.name, out)


@dataclass(frozen=True)
class CutManifest:
    """Lines of a manifest by the id of their cut, in its order."""

    path: Path
    lines: dict[str, str]
    utt2spk: dict[str, str]

    @property
    def wav(self) -> Mapping[str, str]:
        """Recording -> path or pipe."""
        recordings = (parse_json(line)["recording"] for line in self.lines.values())
        return {one["id"]: one["sources"][0]["source"] for one in recordings}

    def seconds(self) -> dict[str, float]:
        """Lengths of the cuts."""
        return {key: float(parse_json(line)["duration"]) for key, line in self.lines.items()}

    def part(self, utterances: Collection[str]) -> CutManifest:
        """Some of the cuts."""
        wanted = set(utterances)
        lines = {key: line for key, line in self.lines.items() if key in wanted}
        if not lines:
            raise UserError(f"{self.path}: no cut is left")
        return replace(self, lines=lines, utt2spk={key: self.utt2spk[key] for key in lines})

    def moved(self, old: str, new: str) -> CutManifest:
        """``new`` for ``old`` at the beginning of the audio's paths."""
        cuts = {key: parse_json(line) for key, line in self.lines.items()}
        values = {key: one["recording"]["sources"][0] for key, one in cuts.items() if one.get("recording")}
        files = {key: source["source"] for key, source in values.items() if source["type"] == "file"}
        for key, value in relocated(files, old, new, where=str(self.path)).items():
            values[key]["source"] = value
        return replace(self, lines={key: json.dumps(one, ensure_ascii=False) for key, one in cuts.items()})

    def write(self, out: Path) -> None:
        """Put it at ``out``, all or nothing."""
        if not is_manifest(out):
            raise UserError(f"{out}: a part of a manifest is a manifest: call it .jsonl.gz")
        with (
            atomic_open(out, "wb") as stream,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8") as text,
        ):
            text.writelines(f"{line}\n" for line in self.lines.values())


UtteranceSet = KaldiSet | CutManifest


def read_set(path: Path) -> UtteranceSet:
    """Read a data directory, or a cut manifest when ``path`` is called like one.

    :raises UserError: see ``read_data_dir``; for a manifest with a line that is no cut of one speaker.
    """
    if is_manifest(path):
        return _read_manifest(path)
    data = read_data_dir(path)
    names = [name for name in (*BY_UTTERANCE, *BY_RECORDING, *BY_SPEAKER) if (path / name).is_file()]
    return KaldiSet(path, data, {name: read_table(path / name) for name in names})


def combined(sets: Sequence[UtteranceSet], say: Say = print) -> UtteranceSet:
    """All utterances of sets of one form.

    A table that Kaldi wants for all ids or none is left out where one set lacks it, and ``say`` is told.

    :raises UserError: for mixed forms, and for an id that means two things.
    """
    manifests = [one for one in sets if isinstance(one, CutManifest)]
    if len(manifests) == len(sets):
        return _combined_manifests(manifests)
    kaldi = [one for one in sets if isinstance(one, KaldiSet)]
    if len(kaldi) != len(sets):
        raise UserError(f"{sets[0].path} and {sets[1].path}: of two forms: convert one (imlkd data to-lhotse)")
    check_shared_ids([one.data for one in kaldi])
    return _combined_kaldi(kaldi, say)


def _read_manifest(path: Path) -> CutManifest:
    lines: dict[str, str] = {}
    utt2spk: dict[str, str] = {}
    for number, line in manifest_lines(path):
        try:
            cut = parse_json(line)
            key, (supervision,) = cut["id"], cut["supervisions"]
            speaker = supervision["speaker"]
            if not isinstance(key, str) or not isinstance(speaker, str):
                raise TypeError("an id that is no text")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: no cut with one supervision and a speaker: mend the line") from error
        if key in lines:
            raise UserError(f"{path}:{number}: cut {key} is there twice: keep one (imlkd data fix)")
        lines[key], utt2spk[key] = line.rstrip("\n"), speaker
    if not lines:
        raise UserError(f"{path}: empty manifest: expected one cut a line")
    return CutManifest(path, lines, utt2spk)


def _of_ids(tables: Mapping[str, dict[str, str]], data: DataDir) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, table in tables.items():
        ids: Collection[str] = data.wav if name in BY_RECORDING else data.spk2utt
        ids = data.utt2spk if name in BY_UTTERANCE else ids
        kept = {key: value for key, value in table.items() if key in ids}
        if kept:
            found[name] = kept
    return found


def _absolute(data: DataDir) -> dict[str, str]:
    """``wav.scp`` for a directory somewhere else."""
    if all(value.endswith("|") or value.startswith("/") for value in data.wav.values()):
        return data.wav
    sources = resolve_sources(data, allow_pipes=True).by_recording
    return {key: value if value.endswith("|") else sources[key].value for key, value in data.wav.items()}


def _combined_manifests(sets: Sequence[CutManifest]) -> CutManifest:
    lines: dict[str, str] = {}
    for one in sets:
        for key, line in one.lines.items():
            if lines.setdefault(key, line) != line:
                raise UserError(f"{one.path}: cut {key} is another one in a manifest before it: rename one of them")
    return CutManifest(sets[0].path, lines, {key: speaker for one in sets for key, speaker in one.utt2spk.items()})


def _combined_kaldi(sets: Sequence[KaldiSet], say: Say) -> KaldiSet:
    tables = [_tables(one, any(other.data.segments is not None for other in sets)) for one in sets]
    names = dict.fromkeys(name for own in tables for name in own)
    merged: dict[str, dict[str, str]] = {}
    for name in names:
        without = [one.path for one, own in zip(sets, tables, strict=True) if name not in own]
        if without and name in (*COMPLETE, *BY_UTTERANCE, *BY_RECORDING, *BY_SPEAKER):
            say(f"{name} is left out: not in {', '.join(map(str, without))}")
            continue
        merged[name] = _merged(name, [(one.path, own.get(name, {})) for one, own in zip(sets, tables, strict=True)])
    return _from_tables(sets[0].path, merged)


def _tables(one: KaldiSet, with_segments: bool) -> dict[str, dict[str, str]]:
    data = one.data
    found = {"wav.scp": _absolute(data), "utt2spk": data.utt2spk, **data.extra, **one.more}
    if data.segments is not None:
        found["segments"] = {key: f"{part.recording} {part.start} {part.end}" for key, part in data.segments.items()}
    elif with_segments:
        if data.utt2dur is None:
            raise UserError(f"{data.table('utt2dur')}: not there, and needed for segments as the others have them")
        found["segments"] = {key: f"{key} 0 {seconds}" for key, seconds in data.utt2dur.items()}
    found |= {"spk2gender": data.spk2gender} if data.spk2gender else {}
    return found | ({"utt2dur": data.utt2dur} if data.utt2dur else {})


def _merged(name: str, tables: Sequence[tuple[Path, dict[str, str]]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for path, table in tables:
        for key, value in table.items():
            if merged.setdefault(key, value) != value and name != "wav.scp":  # the same audio by two paths is fine
                raise UserError(f"{path / name}: {key} is {value!r} here and {merged[key]!r} in a set before it")
    return {key: merged[key] for key in sort_ids(merged)}


def _from_tables(path: Path, tables: dict[str, dict[str, str]]) -> KaldiSet:
    segments = tables.pop("segments", None)
    own = ("wav.scp", "utt2spk", "spk2gender", "utt2dur")
    outer = (*BY_UTTERANCE, *BY_RECORDING, *BY_SPEAKER)
    data = DataDir(
        path=path,
        wav=tables["wav.scp"],
        segments=None if segments is None else {key: Segment(*value.split()) for key, value in segments.items()},
        utt2spk=tables["utt2spk"],
        spk2utt={},
        spk2gender=tables.get("spk2gender"),
        utt2dur=tables.get("utt2dur"),
        extra={name: table for name, table in tables.items() if name not in (*own, *outer)},
    )
    return KaldiSet(path, data, {name: table for name, table in tables.items() if name in outer})


def relocate_tables(source: Path, moved: UtteranceSet) -> None:
    """Replace the paths of ``source``, in place: ``wav.scp`` alone of a data directory, all else in it stays."""
    if source.is_dir():
        write_table(source / "wav.scp", moved.wav)
    else:
        moved.write(source)
