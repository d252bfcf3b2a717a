"""What the package reads from others, by kind: whole files, and how they are used once they are read."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from tests.conftest import RATE, toy_voice

Files = dict[str, bytes]


@dataclass(frozen=True)
class Loader:
    """One kind of input.

    :param write: leaves whole files in a folder; those that start with ``given-`` are never damaged.
    :param use: reads them as the package does and uses what was read, in the folder as working directory.
    """

    write: Callable[[Path], None]
    use: Callable[[Path], None]


def _voice(seed: int = 0) -> np.ndarray:
    return toy_voice(0, 0.4, seed)


def _write_audio(name: str, subtype: str, **options: str) -> Callable[[Path], None]:
    return lambda folder: soundfile.write(folder / name, _voice(), RATE, subtype=subtype, **options)


def _use_audio(folder: Path) -> None:
    """As stage 0 and stage 1 read it, and as ``imlkd verify`` does."""
    from imlkd.corpora.audio import Source, probe, read_source
    from imlkd.errors import UserError
    from imlkd.runtime.audio import AudioOptions, read_audio

    source = Source("a", str(next(folder.iterdir())), False, "wav.scp: a")
    refusals = []
    for read in (
        lambda: probe(source),
        lambda: read_source(source, RATE),
        lambda: read_audio(source, RATE, AudioOptions(resample=True, channel=1)),
    ):
        try:
            read()
        except UserError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _write_arks(folder: Path) -> None:
    from imlkd.kaldi_io import ArkWriter

    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        writer.write("a", np.arange(4.0))
        writer.write("b", np.arange(6.0).reshape(2, 3))
    with open(folder / "x.ark", "ab") as stream:
        for key, content in (("c", b" [\n 1 2 3\n 4 5 6 ]\n"), ("d", _compressed())):
            stream.write(key.encode() + b" ")
            with open(folder / "x.scp", "a", encoding="utf-8") as scp:
                scp.write(f"{key} x.ark:{stream.tell()}\n")
            stream.write(content)
    text = (folder / "x.scp").read_text(encoding="utf-8").replace(f"{folder.absolute()}/", "")
    (folder / "x.scp").write_text(text, encoding="utf-8")


def _compressed() -> bytes:
    import kaldiio

    path = Path(os.path.abspath(f".compressed{os.getpid()}.ark"))
    kaldiio.save_ark(str(path), {"d": np.arange(12, dtype=np.float32).reshape(4, 3)}, compression_method=2)
    content = path.read_bytes()[2:]
    path.unlink()
    return content


def _use_arks(folder: Path) -> None:
    from imlkd.kaldi_io import read_scp_arrays

    assert sum(array.size for array in read_scp_arrays("x.scp").values()) < 1_000_000


def _write_tables(folder: Path) -> None:
    soundfile.write(folder / "given-a.wav", _voice(), RATE)
    tables = {
        "wav.scp": "r1 given-a.wav\nr2 given-a.wav\n",
        "segments": "s1-u1 r1 0.0 0.2\ns1-u2 r1 0.2 0.4\ns2-u1 r2 0.05 0.35\n",
        "utt2spk": "s1-u1 s1\ns1-u2 s1\ns2-u1 s2\n",
        "spk2utt": "s1 s1-u1 s1-u2\ns2 s2-u1\n",
        "spk2gender": "s1 m\ns2 f\n",
        "utt2dur": "s1-u1 0.2\ns1-u2 0.2\ns2-u1 0.3\n",
        "utt2lang": "s1-u1 en\ns1-u2 en\ns2-u1 de\n",
        "utt2lhotse": 's1-u1 {"order":1}\ns2-u1 {"custom":{"x":[1,2]}}\n',
    }
    for name, text in tables.items():
        (folder / name).write_text(text, encoding="utf-8")


def _use_tables(folder: Path) -> None:
    from imlkd.corpora.audio import AudioReader
    from imlkd.corpora.cuts import to_cuts
    from imlkd.corpora.kaldi_dir import read_data_dir

    data = read_data_dir(".")
    reader = AudioReader(data, RATE)
    for utterance in data.utterances:
        reader.read(utterance)
    to_cuts(data)


def _configs() -> dict[str, Any]:
    """A small file and a large one, with lists, sections and a section that another key chooses."""
    from imlkd.training.check import CONFIGS

    return {name: CONFIGS[name] for name in ("relevance", "student")}


def _write_configs(folder: Path) -> None:
    from imlkd.corpora.sets import RecipeSets, write_sets

    for name, cls in _configs().items():
        text = yaml.safe_dump(dataclasses.asdict(cls()), sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    write_sets(RecipeSets("train", "train", ["test"], ["test/trials"]), folder / "sets.yaml")


def _use_configs(folder: Path) -> None:
    from imlkd.config import load_config
    from imlkd.corpora.sets import read_sets

    for name, cls in _configs().items():
        load_config(cls, folder / f"{name}.yaml")
    read_sets(folder / "sets.yaml")


def _write_cuts(folder: Path) -> None:
    from imlkd.corpora.cuts import to_cuts
    from imlkd.corpora.kaldi_dir import read_data_dir

    _write_tables(folder)
    with contextlib.chdir(folder):
        cuts = [cut.to_dict() for cut in to_cuts(read_data_dir("."))]
    for path in list(folder.iterdir()):
        if not path.name.startswith("given-"):
            path.unlink()
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
    from imlkd.corpora.cuts import from_cuts, read_cuts
    from imlkd.corpora.utterance_set import read_set
    from imlkd.errors import UserError
    from imlkd.features.sounds import Sounds

    path = next(Path(".").glob("cuts.*"))
    refusals = []
    try:
        data = from_cuts(read_cuts(path), path)
        reader = AudioReader(data, RATE)
        for utterance in data.utterances:
            reader.read(utterance)
    except UserError as error:
        refusals.append(error)
    for read in (lambda: Sounds(RATE).add(path), lambda: read_set(path)):
        try:
            read()
        except UserError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


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
    from imlkd.corpora.shar import export_shar
    from imlkd.kaldi_io import ArkWriter

    _write_tables(folder)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp") as writer:
        for name in ("s1-u1", "s1-u2", "s2-u1"):
            writer.write(name, np.ones((20, 4)))
    with contextlib.chdir(folder):
        export_shar(Path("."), Path("shar"), say=lambda line: None)
    for path in list(folder.iterdir()):
        if path.is_file():
            path.unlink()


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


def _write_onnx(folder: Path) -> None:
    from tests.runtime.tiny_model import write_tiny_model

    write_tiny_model(folder / "model.onnx")


def _use_onnx(folder: Path) -> None:
    from imlkd import load_model

    model = load_model(folder / "model.onnx")
    vector = model.embed(_voice(), RATE)
    assert vector.shape == (model.embedding_dim,) and abs(float(np.linalg.norm(vector)) - 1.0) < 1e-3
    _verdict(model)


def _verdict(model: Any) -> None:
    """What ``imlkd verify`` makes of thresholds and calibration."""
    from imlkd.runtime.thresholds import operating_point
    from imlkd.runtime.verdict import judge

    for name in ("eer", "0.01"):
        verdict = judge(0.5, operating_point(name, model.thresholds, model.calibration), model.calibration, 0.5, (1, 2))
        assert verdict.decision() and verdict.how_sure() and json.dumps(verdict.to_dict(), allow_nan=False)


def _write_metadata(folder: Path) -> None:
    """The metadata as files of their own: ``use`` puts them into a model."""
    from tests.runtime.tiny_model import metadata

    _write_onnx(folder)
    (folder / "model.onnx").rename(folder / "given-model.onnx")
    for key, value in metadata().items():
        (folder / key).write_text(value, encoding="utf-8")


def _use_metadata(folder: Path) -> None:
    import onnx

    model = onnx.load(folder / "given-model.onnx")
    del model.metadata_props[:]
    for path in folder.glob("imlkd.*"):
        model.metadata_props.add(key=path.name, value=path.read_bytes().decode("utf-8", "replace"))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    _use_onnx(folder)


def _write_model(folder: Path) -> None:
    import torch

    from imlkd.features.fbank import FbankConfig
    from imlkd.models.speaker_model import CosineHead
    from imlkd.models.store import save_model
    from imlkd.models.tdnn import Tdnn, TdnnConfig

    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=5, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=9))
    model.head = CosineHead(6, ["a", "b"])
    save_model(model, folder)
    (folder / "calibration.json").write_text(json.dumps(_calibration()), encoding="utf-8")
    metrics = folder / "metrics/toy"
    metrics.mkdir(parents=True)
    (metrics / "trials.json").write_text(json.dumps(_metrics()), encoding="utf-8")


def _calibration() -> dict[str, object]:
    from tests.runtime.tiny_model import CALIBRATION

    return CALIBRATION


def _metrics() -> dict[str, object]:
    rate = {"value": 0.1, "threshold": 0.4, "interval": None, "threshold_interval": None}
    return {"eer": rate, "min_dcf": {"0.01": rate, "0.001": rate}, "targets": 10, "nontargets": 10}


def _use_model(folder: Path) -> None:
    from imlkd import load_model

    model = load_model(folder)
    model.embed(_voice(), RATE)


def _write_checkpoint(folder: Path) -> None:
    import torch

    from imlkd.training.checkpoint import CheckpointStore

    weights = torch.nn.Linear(3, 2).state_dict()
    path = CheckpointStore(folder, 1).save({"weights": weights, "course": {"steps": 5, "said": ["x"]}}, 5)
    path.rename(folder / "state.pt")
    path.parent.rmdir()


def _use_checkpoint(folder: Path) -> None:
    """Under the name that its damaged bytes ask for, as whoever means harm would call it."""
    from imlkd.training.checkpoint import CheckpointStore

    content = (folder / "state.pt").read_bytes()
    (folder / "checkpoints").mkdir()
    (folder / f"checkpoints/000000005.{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
    CheckpointStore(folder, 1).newest()


def _write_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4)}
    torch.save({"state_dict": state}, folder / "weights.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "weights.safetensors")


def _use_weights(folder: Path) -> None:
    from imlkd.errors import UserError
    from imlkd.models.foreign import read_state

    refusals = []
    for name in ("weights.pt", "old.pt", "weights.safetensors"):
        try:
            assert sum(value.numel() for value in read_state(folder / name).values()) < 1 << 20
        except UserError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _write_exported(folder: Path) -> None:
    from imlkd.export.weights import save_safetensors
    from imlkd.models.store import load_model

    _write_model(folder)
    save_safetensors(load_model(folder), folder, {"imlkd.format": "1"})
    for path in list(folder.rglob("*")):
        if path.is_file() and path.name not in ("model.safetensors", "model.json"):
            path.unlink()


def _use_exported(folder: Path) -> None:
    from imlkd.export.weights import load_safetensors

    load_safetensors(folder)


def _write_lists(folder: Path) -> None:
    from imlkd.scoring.evaluate import evaluate  # noqa: F401  # read in the worker before its memory is measured

    trials = [(f"s{i}-u{j}", f"s{k}-u2", "target" if i == k else "nontarget") for i in range(3) for j in (0, 1)
              for k in range(3)]  # fmt: skip
    (folder / "trials").write_text("".join(f"{a} {b} {label}\n" for a, b, label in trials), encoding="utf-8")
    scores = "".join(f"{a} {b} {0.1 * place}\n" for place, (a, b, _) in enumerate(trials))
    (folder / "scores").write_text(scores, encoding="utf-8")
    names = sorted({name for trial in trials for name in trial[:2]})
    (folder / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names), encoding="utf-8")


def _use_lists(folder: Path) -> None:
    from imlkd.scoring.evaluate import evaluate

    evaluate(folder / "scores", folder / "trials", [folder / "utt2spk"])


LOADERS: dict[str, Loader] = {
    "wav": Loader(_write_audio("a.wav", "PCM_16"), _use_audio),
    "float-wav": Loader(_write_audio("a.wav", "FLOAT", format="WAVEX"), _use_audio),
    "flac": Loader(_write_audio("a.flac", "PCM_16"), _use_audio),
    "arks": Loader(_write_arks, _use_arks),
    "tables": Loader(_write_tables, _use_tables),
    "configurations": Loader(_write_configs, _use_configs),
    "cuts": Loader(_write_cuts, _use_cuts),
    "packed-cuts": Loader(_write_packed_cuts, _use_cuts),
    "features": Loader(_write_features, _use_features),
    "shar": Loader(_write_shar, _use_shar),
    "shards": Loader(_write_shards, _use_shards),
    "onnx": Loader(_write_onnx, _use_onnx),
    "onnx-metadata": Loader(_write_metadata, _use_metadata),
    "model": Loader(_write_model, _use_model),
    "checkpoint": Loader(_write_checkpoint, _use_checkpoint),
    "weights": Loader(_write_weights, _use_weights),
    "exported": Loader(_write_exported, _use_exported),
    "lists": Loader(_write_lists, _use_lists),
}


def whole_files(kind: str, folder: Path) -> Files:
    """Content by name of the whole files of a kind, written to ``folder``."""
    LOADERS[kind].write(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def can_be_damaged(name: str) -> bool:
    """Whether it is not one of those that only have to be there."""
    return not name.startswith("given-")
