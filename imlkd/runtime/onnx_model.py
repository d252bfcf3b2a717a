"""An exported model: one ONNX file, front-end inside, run by onnxruntime. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imlkd.corpora.audio import Samples
from imlkd.errors import UserError
from imlkd.files import os_errors
from imlkd.kaldi_io import FloatArray
from imlkd.onnx_session import first_words, open_session
from imlkd.runtime.model import EmbeddingModel, ModelCard
from imlkd.runtime.thresholds import Thresholds
from imlkd.scoring.calibration import Calibration

FORMAT = "1"
INPUT, OUTPUT = "waveform", "embedding"
LARGEST = 1 << 30  # bytes of a file: beyond any model that is worth calling small
RATES, DIMS, LENGTHS = (4000, 384000), (1, 65536), (1, 10_000_000)
AGAIN = "export the model again (`imlkd export`)"


class OnnxModel(EmbeddingModel):
    """``waveform`` (B, samples) float32 -> ``embedding`` (B, D), in onnxruntime on ``threads`` cores."""

    def __init__(self, place: Path, threads: int = 1) -> None:
        content = _content(place)
        self._session, metadata = _session(place, content, threads)
        super().__init__(place, _card(place, hashlib.sha256(content).hexdigest(), metadata))

    def _run(self, samples: Samples) -> FloatArray:
        try:
            (output,) = self._session.run([OUTPUT], {INPUT: samples[None]})
        except Exception as error:  # onnxruntime raises whatever a kernel meets
            raise UserError(f"{self.place}: does not run ({first_words(error)}): {AGAIN}") from error
        vector: FloatArray = np.asarray(output).reshape(-1)
        return vector


def _content(place: Path) -> bytes:
    if not place.is_file():
        raise UserError(f"{place}: no such model: give a .onnx file that `imlkd export` wrote, or a model's folder")
    with os_errors(place):
        if place.stat().st_size > LARGEST:
            raise UserError(f"{place}: larger than 1 GiB: no model of this package")
        return place.read_bytes()


def _session(place: Path, content: bytes, threads: int) -> tuple[Any, dict[str, str]]:
    """A session that reads nothing but ``content`` (weights in other files are refused), and its metadata."""
    try:
        session = open_session(content, threads)
        inputs = [(one.name, one.type) for one in session.get_inputs()]
        outputs = [one.name for one in session.get_outputs()]
        metadata = dict(session.get_modelmeta().custom_metadata_map)
    except Exception as error:  # onnxruntime raises whatever its parser meets on damaged bytes
        raise UserError(f"{place}: no ONNX model, or a damaged one ({first_words(error)}): {AGAIN}") from error
    if inputs != [(INPUT, "tensor(float)")] or OUTPUT not in outputs:
        raise UserError(f"{place}: takes no waveform and gives no embedding: {AGAIN}, with the front-end inside")
    return session, metadata


def _card(place: Path, sha256: str, metadata: Mapping[str, str]) -> ModelCard:
    """What the keys ``imlkd.*`` say; UserError when one that is needed lacks or is damaged."""
    facts = {key.removeprefix("imlkd."): value for key, value in metadata.items() if key.startswith("imlkd.")}
    if "format" not in facts:
        raise UserError(f"{place}: a model of another toolkit, without imlkd's metadata: {AGAIN}")
    if facts["format"] != FORMAT:
        raise UserError(f"{place}: format {facts['format'][:20]!r}, known is {FORMAT}: install a newer imlkd")
    calibration = facts.pop("calibration", "")
    return ModelCard(
        name="".join(filter(str.isprintable, facts.get("model", ""))) or place.stem,
        sha256=sha256,
        sample_rate=_number(facts, "sample_rate", RATES, place),
        embedding_dim=_number(facts, "embedding_dim", DIMS, place),
        min_samples=_number(facts, "min_samples", LENGTHS, place),
        thresholds=Thresholds.from_json(facts.pop("thresholds", ""), place),
        calibration=Calibration.from_json(calibration, place) if calibration else None,
        facts=facts,
    )


def _number(facts: Mapping[str, str], key: str, bounds: tuple[int, int], place: Path) -> int:
    text = facts.get(key, "")
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not bounds[0] <= int(text) <= bounds[1]:
        raise UserError(f"{place}: imlkd.{key} is {text[:20]!r}: its metadata are damaged: {AGAIN}")
    return int(text)
