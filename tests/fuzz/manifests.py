"""What Lhotse and others put around recordings: cuts, features, Shar, tar files."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np

from tests.conftest import RATE
from tests.fuzz.data_files import write_tables
from tests.fuzz.loader import GIVEN, Loader, all_of, remove_all_but


def _write_cuts(folder: Path) -> None:
    from imlkd.corpora.kaldi_dir import read_data_dir
    from imlkd.corpora.lhotse.cuts import to_cuts

    write_tables(folder)
    with contextlib.chdir(folder):
        cuts = [cut.to_dict() for cut in to_cuts(read_data_dir("."))]
    remove_all_but(lambda path: path.name.startswith(GIVEN), folder)
    for cut in cuts:
        cut["recording"]["sources"][0]["source"] = "given-a.wav"
    lines = "".join(json.dumps(cut) + "\n" for cut in cuts)
    (folder / "cuts.jsonl").write_text(lines, encoding="utf-8")


def _write_packed_cuts(folder: Path) -> None:
    _write_cuts(folder)
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress((folder / "cuts.jsonl").read_bytes(), mtime=0))
    (folder / "cuts.jsonl").unlink()


def _use_cuts(folder: Path) -> None:
    """As ``imlkd data`` takes them in, as a collection of sounds, and with a table's short cut."""
    from imlkd.corpora.audio import AudioReader
    from imlkd.corpora.lhotse.cuts import from_cuts, read_cuts
    from imlkd.corpora.utterance_set import read_set
    from imlkd.features.sounds import Sounds

    path = next(Path(".").glob("cuts.*"))

    def read_audio() -> None:
        data = from_cuts(read_cuts(path), path)
        reader = AudioReader(data, RATE)
        for utterance in data.utterances:
            reader.read(utterance)

    all_of(read_audio, lambda: Sounds(RATE).add(path), lambda: read_set(path))


def _write_features(folder: Path) -> None:
    """Cuts with features in Lhotse's own storage."""
    from lhotse import Features, NumpyFilesWriter

    _write_cuts(folder)
    lines = [json.loads(line) for line in (folder / "cuts.jsonl").read_text(encoding="utf-8").splitlines()]
    with contextlib.chdir(folder), NumpyFilesWriter("given-feats") as writer:
        for line in lines:
            features = Features(
                "fbank", 20, 4, 0.01, RATE, line["start"], line["duration"], writer.name, str(writer.storage_path),
                writer.write(line["id"], np.ones((20, 4), np.float32)), line["recording"]["id"], 0,
            )  # fmt: skip
            line["features"] = features.to_dict()
    (folder / "cuts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _use_features(folder: Path) -> None:
    from imlkd.training.frames import lhotse_frames

    frames = lhotse_frames(Path("cuts.jsonl"))
    for line in Path("cuts.jsonl").read_text(encoding="utf-8").splitlines():
        frames.crop(json.loads(line)["id"], 0, 5)


def _write_shar(folder: Path) -> None:
    from imlkd.corpora.lhotse.shar import export_shar
    from imlkd.kaldi_io import ArkWriter

    write_tables(folder)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp") as writer:
        for name in ("s1-u1", "s1-u2", "s2-u1"):
            writer.write(name, np.ones((20, 4)))
    with contextlib.chdir(folder):
        export_shar(Path("."), Path("shar"), say=lambda line: None)
    remove_all_but(lambda path: path.is_relative_to(folder / "shar"), folder)


def _use_shar(folder: Path) -> None:
    from imlkd.training.frames import shar_frames

    frames = shar_frames(Path("shar"))
    for name in ("s1-u1", "s1-u2", "s2-u1"):
        with contextlib.suppress(KeyError):  # a cut that bears another name now
            frames.crop(name, 0, 5)


def _write_shards(folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as tar:
        for number in range(3):
            for extension, content in (("spk", b"id10001"), ("wav", b"RIFF" + bytes(400))):
                info = tarfile.TarInfo(f"id10001/abcdefghijk/0000{number}.wav.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    (folder / "shard.list").write_text("x.tar\n", encoding="utf-8")


def _use_shards(folder: Path) -> None:
    from imlkd.corpora.shards import unpack_shards

    unpack_shards(Path("."), Path("out/tree"), say=lambda line: None)


LOADERS = {
    "cuts": Loader(_write_cuts, _use_cuts),
    "packed-cuts": Loader(_write_packed_cuts, _use_cuts),
    "features": Loader(_write_features, _use_features),
    "shar": Loader(_write_shar, _use_shar),
    "shards": Loader(_write_shards, _use_shards),
}
