"""A model on disk: ``final.pt`` (tensors only) beside ``model.yaml`` (what to build)."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, make_dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
import yaml
from torch import nn

from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.frontends import FRONTENDS, frontend_name
from imlkd.files import atomic_open, atomic_write_text, parse_yaml
from imlkd.kaldi_io import read_lines
from imlkd.models.ensemble import Ensemble
from imlkd.models.fbank_model import FbankModel
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import CONFIGS, NETWORKS, name_of
from imlkd.models.onnx_network import open_onnx
from imlkd.models.self_supervised import open_self_supervised
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.xvector_table import open_table

USUAL = "log-mel"  # the front-end that model.yaml need not name
WEIGHTS, DESCRIPTION, SPEAKERS = "final.pt", "model.yaml", "speakers"


def save_model(model: SpeakerModel, folder: Path | str) -> None:
    """Write description, speakers of the head and, last, the weights."""
    folder = Path(folder)
    _save_description(model, folder)
    if model.head is not None:
        atomic_write_text(folder / SPEAKERS, "".join(f"{name}\n" for name in model.head.speakers))
    save_tensors(model.state_dict(), folder / WEIGHTS)


def _save_description(model: SpeakerModel, folder: Path) -> None:
    """Everything but weights and head; of the members of an ensemble, whose weights are its own, that is all."""
    if isinstance(model, Ensemble):
        for name, member in model.named():
            _save_description(member, folder / name)
    model.keep(folder)
    atomic_write_text(folder / DESCRIPTION, yaml.safe_dump(describe(model), sort_keys=False))


def _ensemble(folder: Path, said: dict[str, Any]) -> Ensemble:
    return Ensemble([build_model(folder / name) for name in said["members"]])


def describe(model: SpeakerModel) -> dict[str, Any]:
    """The architecture and its settings, as plain values."""
    if isinstance(model, FbankModel):
        frontend = frontend_name(model.fbank)
        told: dict[str, Any] = {} if frontend == USUAL else {"frontend": frontend}
        if model.head is not None and model.head.sub_centres > 1:
            told["sub_centres"] = model.head.sub_centres
        return {
            "architecture": name_of(model.config),
            **told,
            "network": asdict(model.config),
            "fbank": asdict(model.fbank),
        }
    if model.architecture:
        return {"architecture": model.architecture, **model.settings()}
    raise TypeError(f"{type(model).__name__} has no description")


def build_model(folder: Path, description_name: str = DESCRIPTION) -> SpeakerModel:
    """The network that ``model.yaml`` (or a JSON file of the same content) describes, with fresh weights."""
    path = folder / description_name
    if folder.is_file():
        raise UserError(f"{folder}: a file, which holds no network to look into: give the model's folder, exp/MODEL")
    if not path.is_file():
        raise UserError(f"{folder}: holds no {description_name}: run stage 2 (teacher) or stage 4 (student) first")
    try:
        description = parse_yaml(path.read_text(encoding="utf-8"))
        architecture = description["architecture"]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a model description: train or import the model again") from error
    if isinstance(architecture, str) and architecture in OTHERS:
        return _other(folder, path, description)
    if not isinstance(architecture, str) or architecture not in NETWORKS:
        known, told = ", ".join([*NETWORKS, *OTHERS]), reprlib.repr(architecture)
        raise UserError(f"{path}: unknown architecture {told}: expected one of {known}")
    frontend = description.get("frontend", USUAL)
    if not isinstance(frontend, str) or frontend not in FRONTENDS:
        raise UserError(f"{path}: unknown frontend {reprlib.repr(frontend)}: expected {', '.join(FRONTENDS)}")
    keys = [("architecture", str), ("network", CONFIGS[architecture]), ("fbank", FRONTENDS[frontend][0])]
    more = [("frontend", str, USUAL), ("sub_centres", int, 1)]
    whole: Any = load_config(make_dataclass("Description", [*keys, *more]), path)
    model: SpeakerModel = NETWORKS[architecture](whole.network, whole.fbank)
    model.sub_centres = whole.sub_centres
    return model


def _other(folder: Path, path: Path, description: dict[str, Any]) -> SpeakerModel:
    try:
        return OTHERS[description["architecture"]](folder, description)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a model description: train or import the model again") from error


# What is no network of networks.py, by the name in model.yaml: (model folder, what model.yaml says) -> model.
OTHERS: Mapping[str, Callable[[Path, dict[str, Any]], SpeakerModel]] = {
    "ensemble": _ensemble,
    "ge2e": lambda folder, said: Ge2e(),
    "onnx": open_onnx,
    "self-supervised": open_self_supervised,
    "xvectors": open_table,
}


def load_model(folder: Path | str) -> SpeakerModel:
    """Load a trained model in evaluation mode, its parameters frozen.

    :raises UserError: when files are missing, damaged or do not fit each other.
    """
    folder = Path(folder)
    model = build_model(folder)
    names = folder / SPEAKERS
    if names.is_file():
        listed = " ".join(line for _, line in read_lines(names)).split()
        model.head = CosineHead(model.embedding_dim, listed, model.sub_centres)
    load_weights(model, folder / WEIGHTS)
    return model.eval().requires_grad_(False)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict without unpickling code; UserError names the file."""
    state = load_tensors(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        detail = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: does not fit the network: {detail}") from error


def save_tensors(state: Any, path: Path) -> None:
    """``torch.save`` written whole or not at all; the same state gives the same bytes.

    By way of a stream: torch names its records after a file.
    """
    with atomic_open(path, "wb") as stream:
        save_into(state, stream)


def save_into(state: Any, stream: IO[bytes], seen: Callable[[Any], object] = len) -> None:
    """``torch.save`` piece by piece, so that memory never holds all of the bytes.

    :param seen: is shown every piece, as the digest of a checkpoint is.
    :raises OSError: what the stream said; torch would hide it in a RuntimeError.
    """
    pieces = _Pieces(stream, seen)
    torch.save(state, cast("IO[bytes]", pieces))  # torch asks for these two methods only
    if pieces.error is not None:
        raise pieces.error


class _Pieces:
    """Passes pieces on to a stream up to the first error, which it keeps."""

    def __init__(self, stream: IO[bytes], seen: Callable[[Any], object]) -> None:
        self.stream, self.seen = stream, seen
        self.error: OSError | None = None

    def flush(self) -> None:
        """Whoever opened the stream does."""

    def write(self, piece: Any) -> int:
        try:
            if self.error is None:
                self.stream.write(piece)
                self.seen(piece)
        except OSError as error:
            self.error = error
        return memoryview(piece).nbytes


def load_tensors(path: Path) -> Any:
    """``torch.load`` of tensors and plain values only; UserError when the file is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: run the stage that makes it first")
    try:
        with warnings.catch_warnings():  # on a foreign file the reader warns before it raises
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parser meets on damaged bytes
        raise UserError(f"{path}: damaged or not a file of weights: remove it and run its stage again") from error
