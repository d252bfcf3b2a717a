"""The model for PyTorch: safetensors with its description as JSON, and TorchScript."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from imlkd.errors import UserError
from imlkd.export.embedder import WaveformEmbedder
from imlkd.files import atomic_path, atomic_write_text
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import build_model, describe

SAFETENSORS, CONFIG, TORCHSCRIPT = "model.safetensors", "model.json", "model.torchscript"
PARITY = 1e-5  # largest difference of an embedding's values that counts as equal


def save_safetensors(model: SpeakerModel, folder: Path, metadata: dict[str, str]) -> list[Path]:
    """``model.safetensors`` without the speaker head, and ``model.json``, what to build."""
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in model.state_dict().items() if not name.startswith("head.")}
    with atomic_path(folder / SAFETENSORS) as temporary:
        save_file(state, temporary, metadata=metadata)
    atomic_write_text(folder / CONFIG, json.dumps(describe(model), indent=1) + "\n")
    return [folder / SAFETENSORS, folder / CONFIG]


def load_safetensors(folder: Path | str) -> SpeakerModel:
    """The model that ``save_safetensors`` wrote, in evaluation mode, frozen; no code of the file is ever run.

    :raises UserError: when a file is missing or damaged, or they do not fit each other.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    path = folder / SAFETENSORS
    if not path.is_file():
        raise UserError(f"{path}: no such file: export the model with --format safetensors")
    model = build_model(folder, CONFIG)
    try:
        model.load_state_dict(load_file(path))
    except Exception as error:  # safetensors raises its own classes on damaged bytes, torch on foreign ones
        detail = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: damaged, or not of the network in {CONFIG}: {detail}") from error
    return model.eval().requires_grad_(False)


def save_torchscript(embedder: WaveformEmbedder, folder: Path, rate: int) -> Path:
    """The traced embedder, for ``torch.jit.load``; checked on lengths other than the one it was traced with.

    :raises UserError: when the trace holds on to a length.
    """
    shortest = embedder.min_samples
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # a trace warns of every branch, and of its own age
        traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
            embedder, _noise(2, rate + shortest), check_trace=False)
        for rows, samples in ((1, shortest), (3, shortest + rate // 3), (1, shortest + 3 * rate)):
            waveform = _noise(rows, samples)
            expected = embedder(waveform)
            try:
                found = traced(waveform)
            except RuntimeError:
                found = torch.full_like(expected, torch.nan)
            if not torch.allclose(found, expected, rtol=0.0, atol=PARITY):
                raise UserError(f"{folder / TORCHSCRIPT}: a trace of this model holds for one length only: export onnx")
        with atomic_path(folder / TORCHSCRIPT) as temporary:
            traced.save(str(temporary))
    return folder / TORCHSCRIPT


def _noise(rows: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(samples))
