"""Models in every form, what is written in them, and stores of speakers."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import RATE
from tests.fuzz.loader import Loader, all_of, remove_all_but, voice


def _write_onnx(folder: Path) -> None:
    from tests.runtime.tiny_model import write_tiny_model

    write_tiny_model(folder / "model.onnx")


def _use_onnx(folder: Path) -> None:
    from imlkd import load_model

    model = load_model(folder / "model.onnx")
    vector = model.embed(voice(), RATE)
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
    from tests.runtime.tiny_model import CALIBRATION

    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=5, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=9))
    model.head = CosineHead(6, ["a", "b"])
    save_model(model, folder)
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION), encoding="utf-8")
    metrics = folder / "metrics/toy"
    metrics.mkdir(parents=True)
    (metrics / "trials.json").write_text(json.dumps(_metrics()), encoding="utf-8")


def _metrics() -> dict[str, object]:
    rate = {"value": 0.1, "threshold": 0.4, "interval": None, "threshold_interval": None}
    return {"eer": rate, "min_dcf": {"0.01": rate, "0.001": rate}, "targets": 10, "nontargets": 10}


def _use_model(folder: Path) -> None:
    from imlkd import load_model

    model = load_model(folder)
    model.embed(voice(), RATE)


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
    from imlkd.models.foreign import read_state

    def read(name: str) -> None:
        assert sum(value.numel() for value in read_state(folder / name).values()) < 1 << 20

    all_of(*(functools.partial(read, name) for name in ("weights.pt", "old.pt", "weights.safetensors")))


def _write_exported(folder: Path) -> None:
    from imlkd.export.weights import save_safetensors
    from imlkd.models.store import load_model

    _write_model(folder)
    save_safetensors(load_model(folder), folder, {"imlkd.format": "1"})
    remove_all_but(lambda path: path.name in ("model.safetensors", "model.json"), folder)


def _use_exported(folder: Path) -> None:
    from imlkd.export.weights import load_safetensors

    load_safetensors(folder)


def _write_store(folder: Path) -> None:
    from imlkd.runtime.speaker_store import SpeakerStore
    from tests.runtime import store_writer

    with SpeakerStore(folder / "people.sqlite", store_writer.CARD) as store:
        store.enroll({f"s{i}": store_writer.voice(i) for i in range(40)})


def _use_store(folder: Path) -> None:
    """Searched, changed, and looked through after that."""
    from imlkd.runtime.speaker_store import SpeakerStore
    from tests.runtime import store_writer

    with SpeakerStore(folder / "people.sqlite", store_writer.CARD, wait=0.1) as store:
        assert len(store.search(store_writer.voice(3)[0].embedding)) <= 5
        store.speakers()
        store.enroll({"s1": store_writer.voice(1), "new": store_writer.voice(99)})
        store.remove("s2")
    with SpeakerStore(folder / "people.sqlite", wait=0.1) as store:
        store.check()


LOADERS = {
    "onnx": Loader(_write_onnx, _use_onnx),
    "onnx-metadata": Loader(_write_metadata, _use_metadata),
    "model": Loader(_write_model, _use_model),
    "checkpoint": Loader(_write_checkpoint, _use_checkpoint),
    "weights": Loader(_write_weights, _use_weights),
    "exported": Loader(_write_exported, _use_exported),
    "store": Loader(_write_store, _use_store),
}
