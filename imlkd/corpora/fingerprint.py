"""A hash of a data directory that doesn't depend on where it lies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from imlkd.corpora.audio import Source, resolve_sources, run_pipe
from imlkd.corpora.kaldi_dir import DataDir, read_data_dir
from imlkd.corpora.lhotse import remainder
from imlkd.errors import UserError
from imlkd.files import sha256_file
from imlkd.kaldi_io import read_table

DIGESTS = "reco2sha256"  # table of stage 0: recording -> SHA-256 of its file, or of its pipe's output


def data_hash(path: Path | str, allow_pipes: bool = False) -> str:
    """SHA-256 (hexadecimal) over ids, speakers, segments, genders, further tables and the content of the audio.

    Paths and tables that are derived (``spk2utt``, durations, features) don't count, nor do trial lists. The content
    comes from ``reco2sha256``, which stage 0 writes, or, without this table, from reading all audio.

    :raises UserError: see ``read_data_dir``; audio that is gone, a digest that is missing.
    """
    data = read_data_dir(path)
    tables = {
        "audio": _digests(data, allow_pipes),
        "utt2spk": data.utt2spk,
        "spk2gender": data.spk2gender,
        "segments": {key: [s.recording, s.start, s.end] for key, s in (data.segments or {}).items()},
        **{name: table for name, table in data.extra.items() if name != remainder.TABLE},  # it holds paths
    }
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def _digests(data: DataDir, allow_pipes: bool) -> dict[str, str]:
    known = Path(data.path) / DIGESTS
    if not known.is_file():
        return {key: _digest(source) for key, source in resolve_sources(data, allow_pipes).by_recording.items()}
    digests = read_table(known, fields=2)
    if digests.keys() != data.wav.keys():
        raise UserError(f"{known}: its recordings aren't those of wav.scp: remove the file, or run stage 0 again")
    return digests


def _digest(source: Source) -> str:
    if source.is_pipe:
        return hashlib.sha256(run_pipe(source)).hexdigest()
    if not Path(source.value).is_file():
        raise UserError(f"{source.place}: {source.value}: no such file: mend the path or put the file back")
    return sha256_file(source.value)
