"""A speaker network in an ONNX file, by whomever: it answers, and nothing else is known of it.

It gives no gradient, so its relevance is found by occlusion (`attribution/occlusion.py`), and no feature maps, so only
methods of embeddings, of relations between them and, through a head that is fitted here, of posteriors go with it.

What it hears is read from its input and its metadata:

- two axes (batch, samples): the waveform in [-1, 1), at the rate that ``imlkd.sample_rate`` or ``sample_rate`` says,
  else at 16 kHz;
- three axes (batch, frames, bands): Kaldi's log mel. With the metadata of sherpa-onnx (``framework``,
  ``normalize_samples``, ``feature_normalize_type``) those of sherpa-onnx, else those of wespeaker: Hamming windows,
  snipped edges, 16-bit scale, the mean of each band taken away.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imlkd.errors import UserError
from imlkd.features.fbank import INT16_SCALE, FbankConfig, LogMel
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SnippedLogMel
from imlkd.features.wave_frames import WaveFrames, samples_of, waveform_parts
from imlkd.files import atomic_open, os_errors
from imlkd.models.speaker_model import FrontEnd, SpeakerModel, SpeakerOutput
from imlkd.onnx_session import first_words, open_session

FILE = "model.onnx"
USUAL_RATE = 16000
WAVEFORM, SHERPA, WESPEAKER = "waveform", "sherpa-onnx", "wespeaker"
EMBEDDINGS = ("embs", "embedding", "embeddings", "output")  # names of the output that is taken where there are several
BELOW_NYQUIST = 400.0  # Hz: where sherpa-onnx's bands end
LARGEST = 1 << 31  # bytes: what an ONNX file may have at most


@dataclass(frozen=True)
class Heard:
    """What the network hears.

    :param front_end: ``waveform``, ``sherpa-onnx`` or ``wespeaker``.
    :param bands: mel bands, 0 for a waveform.
    :param centred: whether each band's mean is taken away.
    :param shift: added to log mel on the 16-bit scale.
    """

    front_end: str
    sample_rate: int
    bands: int = 0
    centred: bool = False
    shift: float = 0.0

    def build(self) -> FrontEnd:
        """The front-end."""
        if self.front_end == WAVEFORM:
            return WaveFrames(self.sample_rate)
        if self.front_end == SHERPA:
            return LogMel(FbankConfig(self.sample_rate, self.bands, high_freq=self.sample_rate / 2 - BELOW_NYQUIST))
        return SnippedLogMel(SnippedFbankConfig(self.sample_rate, self.bands))


class OnnxNetwork(SpeakerModel):
    """The network in ``content``.

    :param path: of the file, for messages.
    :raises UserError: when it cannot be read, or is no network of one waveform or one array of log-mel frames.
    """

    architecture = "onnx"
    is_opaque = True
    has_stages = False

    def __init__(self, content: bytes, path: Path) -> None:
        self.path, self.content = path, content
        try:
            session = open_session(content)
        except Exception as error:  # onnxruntime raises whatever its parser meets on damaged bytes
            said = first_words(error)
            raise UserError(f"{path}: no ONNX model, or a damaged one ({said}): export it again") from error
        self.heard = heard_by(session, path)
        frontend = self.heard.build()
        super().__init__(frontend, 0)
        self._session = session
        self._input, self._output = session.get_inputs()[0].name, _output_of(session, path)
        self._together = not isinstance(session.get_inputs()[0].shape[0], int)
        seconds = frontend(torch.zeros(2 * frontend.sample_rate))[None]
        self.embedding_dim = self._run(self._prepared(seconds)).shape[1]

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Rows of one length together; the one stage is the embedding, which is all that is known."""
        rows = torch.empty(len(features), self.embedding_dim)
        for length in sorted(set(lengths.tolist())):
            own = (lengths == length).cpu()
            rows[own] = self._run(self._prepared(features.detach().cpu()[own, : int(length)]))
        rows = rows.to(features.device)
        return SpeakerOutput([rows[:, :, None]], rows, rows, None)

    def _prepared(self, features: Tensor) -> Tensor:
        """(B, T, F) of the front-end -> what the input takes."""
        if waveform_parts(self.frontend):
            return samples_of(features)
        edge = getattr(self.frontend, "edge", 0)
        inner = features[:, edge : features.shape[1] - edge] + self.heard.shift
        return inner - inner.mean(1, keepdim=True) if self.heard.centred else inner

    def _run(self, rows: Tensor) -> Tensor:
        """(B, ...) -> (B, D)."""
        parts = [rows] if self._together else list(rows[:, None])
        try:
            found = [self._session.run([self._output], {self._input: part.numpy()})[0] for part in parts]
        except Exception as error:  # onnxruntime raises whatever a kernel meets
            raise UserError(f"{self.path}: does not run on {tuple(rows.shape)} ({first_words(error)})") from error
        output = torch.from_numpy(np.concatenate(found)).float()
        if output.ndim != 2 or len(output) != len(rows):
            raise UserError(f"{self.path}: gives {tuple(output.shape)} for {len(rows)} inputs: no embedding an input")
        return output

    def settings(self) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self.content).hexdigest(), "heard": asdict(self.heard)}

    def keep(self, folder: Path) -> None:
        """Leave the file itself in a model folder."""
        with atomic_open(folder / FILE, "wb") as stream:
            stream.write(self.content)


def heard_by(session: Any, path: Path) -> Heard:
    """What the network in a session hears.

    :raises UserError: when that cannot be told.
    """
    inputs = session.get_inputs()
    said: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) not in (2, 3):
        told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise UserError(
            f"{path}: inputs {told}: give a network of one waveform (batch, samples) or one (batch, frames, bands)"
        )
    shape = inputs[0].shape
    rate = _rate(said.get("imlkd.sample_rate") or said.get("sample_rate") or str(USUAL_RATE), path)
    if isinstance(shape[1], int):
        raise UserError(f"{path}: takes {shape[1]} frames or samples exactly: export it with a free length")
    if len(shape) == 2:
        return Heard(WAVEFORM, rate)
    if not isinstance(shape[2], int) or not 8 <= shape[2] <= 256:
        raise UserError(f"{path}: input {shape}: its last axis is no number of mel bands between 8 and 256")
    if said.get("framework"):
        centred, scaled = said.get("feature_normalize_type") == "global-mean", said.get("normalize_samples") == "1"
        return Heard(SHERPA, rate, shape[2], centred, -2 * math.log(INT16_SCALE) if scaled else 0.0)
    if any(key.startswith("imlkd.") for key in said):
        raise UserError(f"{path}: hears features that its metadata do not tell: export it with its front-end inside")
    return Heard(WESPEAKER, rate, shape[2], centred=True)


def _rate(text: str, path: Path) -> int:
    if not text.isascii() or not text.isdecimal() or not 4000 <= int(text) <= 384000:
        raise UserError(f"{path}: its metadata say sample_rate {text[:20]!r}: that is none")
    return int(text)


def _output_of(session: Any, path: Path) -> str:
    names: list[str] = [one.name for one in session.get_outputs()]
    wanted = [name for name in names if name in EMBEDDINGS]
    if len(names) > 1 and len(wanted) != 1:
        raise UserError(f"{path}: outputs {', '.join(names)}: none, or several, are called {', '.join(EMBEDDINGS)}")
    return wanted[0] if wanted else names[0]


def load_onnx(path: Path) -> OnnxNetwork:
    """The network in a file, frozen; says what it hears.

    :raises UserError: see :class:`OnnxNetwork`.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a .onnx file")
    with os_errors(path):
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: larger than 2 GiB: no ONNX file that is whole in itself")
        model = OnnxNetwork(path.read_bytes(), path)
    bands = f", {model.heard.bands} mel bands as {model.heard.front_end}" if model.heard.bands else ""
    print(f"{path}: hears {model.heard.sample_rate} Hz{bands}; embeddings of {model.embedding_dim} values", flush=True)
    return model.eval()  # type: ignore[no-any-return,unused-ignore]


def open_onnx(folder: Path, said: Mapping[str, Any]) -> OnnxNetwork:
    """The network in a model folder.

    :raises UserError: when the file is not the one that was imported.
    """
    path = folder / FILE
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != said["sha256"]:
        raise UserError(f"{path}: missing or damaged: import the teacher again (stage 2)")
    return OnnxNetwork(content, path)
