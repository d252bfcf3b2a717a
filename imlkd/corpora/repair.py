"""Bring the tables of a Kaldi data directory in line with each other, by the rules of Kaldi's ``fix_data_dir.sh``.

Lines are sorted and repeated ones dropped, only utterances that every table knows are kept, ``spk2utt`` is rebuilt.
What has no mechanical cure (two different lines for one id, a wrong number of columns) is an error, nothing is changed.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from imlkd.corpora.folders import install, staging
from imlkd.corpora.kaldi_dir import CARRIED, COMPLETE, group_by_speaker
from imlkd.corpora.lhotse.cuts import manifest_lines
from imlkd.corpora.utterance_set import BY_RECORDING, BY_SPEAKER, BY_UTTERANCE
from imlkd.errors import UserError
from imlkd.files import atomic_open, make_dir, parse_json
from imlkd.kaldi_io import read_lines, sort_ids, write_table

Say = Callable[[str], object]
Table = dict[str, str]

BACKUP = ".backup"
_LISTED = 5
_FREE = ("wav.scp", "feats.scp", "vad.scp", "cmvn.scp", "text", "spk2utt")  # any number of columns
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def fix_data_dir(path: Path, say: Say = print) -> int:
    """Mend a data directory in place; files that change are kept in ``.backup``. Returns the utterances kept.

    :raises UserError: where there is no mechanical cure, or no utterance is in every table.
    """
    if not (path / "utt2spk").is_file():
        raise UserError(f"{path}/utt2spk: no such file: a Kaldi data directory needs it")
    names = sorted(one.name for one in path.iterdir() if one.is_file() and _kind(one.name) and one.name != "spk2utt")
    tables = {name: _loose(path / name, say) for name in names}
    utt2spk = _survivors(path, tables, say)
    segments = tables.get("segments")
    recordings = {key if segments is None else segments[key].split()[0] for key in utt2spk}
    ids = {"utterance": set(utt2spk), "speaker": set(utt2spk.values()), "recording": recordings}
    fixed = {
        name: {key: table[key] for key in sort_ids(table) if key in ids[_kind(name)]} for name, table in tables.items()
    }
    fixed["spk2utt"] = {speaker: " ".join(own) for speaker, own in group_by_speaker(utt2spk).items()}
    changed = _replace(path, {name: table for name, table in fixed.items() if table or name in COMPLETE})
    total = len(tables["utt2spk"])
    say(f"{path}: kept {len(utt2spk)} utterances out of {total}, {len(ids['speaker'])} speakers")
    say(f"{path}: changed {' '.join(changed)}; old files are kept in {path / BACKUP}" if changed else
        f"{path}: nothing to change")  # fmt: skip
    return len(utt2spk)


def fix_manifest(path: Path, say: Say = print) -> int:
    """Drop what is no cut of one speaker, and repeated cuts; the old file is kept as ``NAME.backup``.

    :raises UserError: for two different cuts of one id, a damaged file, or when none is left.
    """
    kept: Table = {}
    dropped: list[str] = []
    for number, line in manifest_lines(path):
        name = _id_of_cut(line)
        if name is None or kept.get(name) == line:
            dropped.append(f"line {number}" if name is None else f"line {number} ({name} again)")
        elif name in kept:
            raise UserError(f"{path}:{number}: {name} stands there before as another cut: delete the wrong line")
        else:
            kept[name] = line
    if not kept:
        raise UserError(f"{path}: no cut with one supervision and a speaker is in it: nothing was changed")
    if dropped:
        say(f"{path}: dropped {len(dropped)}: {', '.join(dropped[:_LISTED])}")
        shutil.copy2(path, path.with_name(f"{path.name}.backup"))
        opened = gzip.compress if path.suffix == ".gz" else bytes
        with atomic_open(path, "wb") as stream:
            stream.write(opened("".join(kept.values()).encode()))
    say(f"{path}: kept {len(kept)} cuts")
    return len(kept)


def _id_of_cut(line: str) -> str | None:
    try:
        cut = parse_json(line)
        (supervision,) = cut["supervisions"]
        return str(cut["id"]) if supervision["speaker"] else None
    except (ValueError, KeyError, TypeError):
        return None


def _kind(name: str) -> str:
    """Whose id stands first in a line of the table; empty for a file that is none."""
    if name in (*BY_UTTERANCE, "text", "segments") or name.startswith("utt2") and CARRIED.fullmatch(name):
        return "utterance"
    if name in BY_SPEAKER or name.startswith("spk2") and CARRIED.fullmatch(name):
        return "speaker"
    return "recording" if name == "wav.scp" or name in BY_RECORDING else ""


def _loose(path: Path, say: Say) -> Table:
    """A table in any order, with blank and repeated lines."""
    table: Table = {}
    repeated, impossible = 0, list[str]()
    for number, line in read_lines(path):
        if not line.strip():
            continue
        key, *fields = line.split()
        value = line.strip()[len(key) :].strip() if path.name in _FREE else " ".join(fields)
        if not value and path.name != "text":
            raise UserError(f"{path}:{number}: {key} stands alone: mend the line")
        wrong = _complaint(path.name, fields)
        if wrong and _kind(path.name) == "utterance":
            impossible.append(f"{key} ({wrong})")
            continue
        if wrong:
            raise UserError(f"{path}:{number}: {key}: {wrong}: mend the line")
        if table.get(key, value) != value:
            raise UserError(f"{path}:{number}: {key} stands there before with another value: delete the wrong line")
        repeated += key in table
        table[key] = value
    if repeated:
        say(f"{path.name}: {repeated} repeated lines dropped")
    if impossible:
        say(f"{path.name}: {len(impossible)} impossible lines dropped: {', '.join(impossible[:_LISTED])}")
    return table


def _complaint(name: str, fields: list[str]) -> str:
    """What is wrong with the values of a line; empty when nothing is."""
    if name == "segments":
        if len(fields) != 3:
            return f"{len(fields) + 1} columns, expected 4"
        _, start, end = fields
        if not (_NUMBER.fullmatch(start) and _NUMBER.fullmatch(end) and 0 <= float(start) < float(end)):
            return f"times {start} {end}"
    elif name in ("utt2dur", "reco2dur", "utt2num_frames"):
        if len(fields) != 1 or not _NUMBER.fullmatch(fields[0]) or float(fields[0]) <= 0:
            return f"{' '.join(fields)!r} is no length"
    elif name == "spk2gender" and fields not in (["m"], ["f"]):
        return f"gender {' '.join(fields)!r}, expected m or f"
    elif name == "utt2spk" and len(fields) != 1:
        return f"{len(fields) + 1} columns, expected 2"
    return ""


def _survivors(path: Path, tables: Mapping[str, Table], say: Say) -> Table:
    """``utt2spk`` of the utterances that every table which has to be complete knows."""
    utt2spk = {key: tables["utt2spk"][key] for key in sort_ids(tables["utt2spk"])}
    segments = tables.get("segments")
    lost: set[str] = set()
    for name, table in tables.items():
        if name not in (*COMPLETE, *BY_UTTERANCE, *BY_SPEAKER, *BY_RECORDING, "segments", "wav.scp"):
            continue
        kind = _kind(name)
        missing = []
        for key, speaker in utt2spk.items():
            owner = speaker if kind == "speaker" else key
            if kind == "recording" and segments is not None:
                owner = segments[key].split()[0] if key in segments else ""
            if owner and owner not in table:
                missing.append(key)
        if missing:
            say(f"{name}: no line for {len(missing)} utterances, which go: {', '.join(missing[:_LISTED])}")
            lost.update(missing)
    kept = {key: speaker for key, speaker in utt2spk.items() if key not in lost}
    if not kept:
        raise UserError(f"{path}: no utterance is in every table: nothing was changed")
    return kept


def _replace(path: Path, tables: Mapping[str, Table]) -> list[str]:
    """Write the tables that differ, keep the old ones; returns their names."""
    changed: list[str] = []
    with staging(path) as folder:
        for name, table in tables.items():
            write_table(folder / name, table)
            old = path / name
            if old.is_file() and old.read_bytes() == (folder / name).read_bytes():
                continue
            if old.is_file():
                shutil.copy2(old, make_dir(path / BACKUP) / name)
            install(folder / name, old)
            changed.append(name)
    return changed
