"""Lhotse Shar: cuts with their audio and features in tar files that are read in sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imlkd.corpora.folders import install, staging
from imlkd.corpora.kaldi_dir import is_manifest, read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts
from imlkd.corpora.lhotse.interchange import refuse_existing
from imlkd.errors import UserError
from imlkd.files import make_dir, os_errors
from imlkd.kaldi_io import read_array, read_table

Say = Callable[[str], object]


def export_shar(
    source: Path, out: Path, shard_size: int = 1000, audio: str = "flac", allow_pipes: bool = False, say: Say = print
) -> int:
    """Lhotse Shar of a data directory or cut manifest: cuts and their audio in tar files that are read in sequence.

    Features that a data directory has (``feats.scp``) go along, as the field ``features``.

    :param shard_size: cuts a shard.
    :param audio: format inside the tar files, flac or wav.
    :raises UserError: for pipes, which Shar can't hold, and for an ``out`` that is there already.
    """
    refuse_existing(out)
    cuts = read_cuts(source) if is_manifest(source) else to_cuts(read_data_dir(source), allow_pipes)
    piped = [cut.id for cut in cuts if any(one.type == "command" for one in cut.recording.sources)]
    if piped:
        raise UserError(
            f"{source}: {len(piped)} utterances are pipes (first: {piped[0]}), Shar holds files: write what they "
            "give to files first; pipes that only decode a file go with `imlkd data from-kaldi`"
        )
    with staging(out.absolute().parent) as folder, os_errors(out):
        shar = make_dir(folder / out.name)  # Lhotse makes none
        _write_shar(cuts, source, shar, shard_size, audio)
        install(shar, out)
    say(f"{out}: {len(cuts)} cuts in {-(-len(cuts) // shard_size)} shards")
    return len(cuts)


def _write_shar(cuts: list[Any], source: Path, shar: Path, shard_size: int, audio: str) -> None:
    from lhotse.shar import SharWriter

    fields = {"recording": audio}
    scp = source / "feats.scp"
    features = {}
    if not is_manifest(source) and scp.is_file():
        features, fields["features"] = read_table(scp, fields=2), "numpy"
    with SharWriter(str(shar), fields=fields, shard_size=shard_size) as writer:
        for cut in cuts:
            if cut.id in features:
                cut.features = _features_of(cut, features[cut.id], shar)
            writer.write(cut)


def _features_of(cut: Any, rxfilename: str, folder: Path) -> Any:
    """The matrix of an ark in memory, as Lhotse's features."""
    from lhotse import Features
    from lhotse.features.io import MemoryRawWriter

    matrix = read_array(rxfilename)
    writer = MemoryRawWriter()
    return Features(
        type="imlkd", num_frames=len(matrix), num_features=matrix.shape[1], frame_shift=0.01,
        sampling_rate=cut.sampling_rate, start=cut.start, duration=cut.duration, storage_type=writer.name,
        storage_path="", storage_key=writer.write(cut.id, matrix), recording_id=cut.recording.id, channels=0,
    )  # fmt: skip
