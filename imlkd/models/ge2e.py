"""The GE2E speaker encoder as a teacher: three LSTM layers over windows of 1.6 s, mean of unit vectors.

Wan, Wang, Papir, Lopez Moreno, "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, section 3.2. The
weights, the front-end and the window rule are those of the PyPI package Resemblyzer 0.1.4 (Apache-2.0), whose
``embed_utterance`` this network equals to 1e-5.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.power_mel import BANDS, COVERED, FLOOR, STEP, WINDOW, PowerMel, mel_power
from imlkd.files import os_errors
from imlkd.models.resemblyzer import REMEDY, verified_weights
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

WIDTH = 256
LAYERS = 3
LSTM_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Ge2e(SpeakerModel):
    """Log power mel (B, T, 40) -> embedding (B, 256) of unit length; stages: its LSTM layers, 10 ms a frame."""

    architecture = "ge2e"
    min_frames = WINDOW  # its front-end pads shorter audio

    def __init__(self) -> None:
        super().__init__(PowerMel(), WIDTH)
        self.layers = nn.ModuleList(nn.LSTM(WIDTH if i else BANDS, WIDTH, batch_first=True) for i in range(LAYERS))
        self.linear = nn.Linear(WIDTH, WIDTH)

    def train(self, mode: bool = True) -> Ge2e:
        """As nn.Module, but the LSTM layers stay in training mode; without dropout both modes compute the same."""
        super().train(mode)
        self.layers.train()  # cuDNN gives no gradient in evaluation mode
        return self

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Windows of each row by its own length; frames past a row's end are silence and touch nothing.

        :raises ValueError: when a length exceeds the frames there are.
        """
        rows, frames = features.shape[:2]
        item, time, inside = windows_of(lengths.to(features.device), frames)
        windows = features[item[:, None], time.clamp(max=frames - 1)]
        hidden = mel_power(windows.masked_fill(~inside[:, :, None], math.log(FLOOR)))
        stages = []
        for layer in self.layers:
            hidden, _ = layer(hidden)
            stages.append(overlap_mean(hidden, item, time, inside, (rows, frames)))
        partials = functional.normalize(torch.relu(self.linear(hidden[:, -1])))
        count = torch.bincount(item, minlength=rows)[:, None]
        pooled = partials.new_zeros(rows, WIDTH).index_add(0, item, partials) / count
        return SpeakerOutput(stages, pooled, functional.normalize(pooled), None)


def windows_of(lengths: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of a padded batch by the rule of ``power_mel.window_count``: valid frames (B,) ->

    row of each window (W,), its frame numbers (W, 160), and whether each lies inside the row (W, 160).
    """
    if int(lengths.max()) > frames:
        raise ValueError(f"length {int(lengths.max())} in a batch of {frames} frames")
    counts = 1 + (lengths - COVERED - 1).clamp(min=0) // STEP
    item = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), counts)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    start = (torch.arange(len(item), device=lengths.device) - first) * STEP
    time = start[:, None] + torch.arange(WINDOW, device=lengths.device)
    return item, time, time < lengths[item][:, None]


def overlap_mean(hidden: Tensor, item: Tensor, time: Tensor, inside: Tensor, shape: tuple[int, int]) -> Tensor:
    """Frames of overlapping windows (W, 160, D) averaged back onto their rows: (B, D, T); unread frames are zero."""
    rows, frames = shape
    place = (item[:, None] * frames + time.clamp(max=frames - 1)).flatten()
    weight = inside.flatten().to(hidden.dtype)[:, None]
    total = hidden.new_zeros(rows * frames, hidden.shape[2]).index_add(0, place, hidden.flatten(0, 1) * weight)
    count = hidden.new_zeros(rows * frames, 1).index_add(0, place, weight)
    return (total / count.clamp(min=1)).view(rows, frames, -1).transpose(1, 2)


def load_ge2e(path: Path | str | None = None) -> Ge2e:
    """The pretrained encoder in evaluation mode, its parameters frozen; gradients still reach the features.

    :param path: a checkpoint of the same network; by default the package's, whose SHA-256 is then checked.
    :raises UserError: when the package or the file is missing, damaged, or of another network.
    """
    weights = verified_weights() if path is None else Path(path)
    remedy = REMEDY if path is None else "give the pretrained.pt of Resemblyzer, or none to use the installed package's"
    with os_errors(weights):
        content = weights.read_bytes()
    model = Ge2e()
    try:
        model.load_state_dict(_renamed(_tensors_of(content)["model_state"]))
    except Exception as error:  # torch raises whatever its parser meets on damaged bytes
        raise UserError(f"{weights}: damaged, or not the weights of a GE2E encoder: {remedy}") from error
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise UserError(f"{weights}: holds values that are not finite: {remedy}")
    return model.eval().requires_grad_(False)


def _tensors_of(content: bytes) -> dict[str, dict[str, Tensor]]:
    with warnings.catch_warnings():  # on a foreign file the reader warns before it raises
        warnings.simplefilter("ignore")
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict):
        raise TypeError(type(checkpoint).__name__)
    return checkpoint


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's one LSTM of three layers -> three LSTMs of one, without what only its training loss used."""
    names = {f"lstm.{part}_l{i}": f"layers.{i}.{part}_l0" for i in range(LAYERS) for part in LSTM_PARTS}
    return {names.get(name, name): value for name, value in state.items() if not name.startswith("similarity_")}
