"""Speaker models of SpeechBrain: a folder with ``embedding_model.ckpt``. The package is never imported.

The shape is read from the tensors; what no tensor shows (dilations, kernel sizes, activations, the front-end) is the
package's default, with which its published models are built (16 kHz, mean of each band taken away). The noise of 1e-5
to 9e-5 that its x-vector adds to the pooled means, even in evaluation, is left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from imlkd.features.teacher_fbanks import SpeechbrainMelConfig
from imlkd.models.ecapa import Ecapa, EcapaConfig
from imlkd.models.fbank_model import FbankModel
from imlkd.models.foreign import State, fill, read_state, renamed, sizes
from imlkd.models.xvector import Xvector, XvectorConfig

WEIGHTS = "embedding_model.ckpt"
SLOPE = 0.01  # of the x-vector's leaky ReLU
ADDED = 1e-5  # to the deviations that its pooling gives
ECAPA_NAMES = (
    (r"^blocks\.0\.", "first."),
    (r"^blocks\.1\.", "blocks.0."),
    (r"^blocks\.2\.", "blocks.1."),
    (r"^blocks\.3\.", "blocks.2."),
    (r"\.tdnn1\.", ".first."),
    (r"\.tdnn2\.", ".last."),
    (r"\.res2net_block\.blocks\.", ".res2.layers."),
    (r"\.se_block\.conv1\.conv\.", ".excitation.down."),
    (r"\.se_block\.conv2\.conv\.", ".excitation.up."),
    (r"^mfa\.", "aggregation."),
    (r"^asp\.tdnn\.", "pooling.hidden."),
    (r"^asp\.conv\.conv\.", "pooling.weights."),
    (r"^asp_bn\.norm\.", "norm."),
    (r"^fc\.conv\.", "segment."),
    (r"\.conv\.conv\.", ".convolution."),
    (r"\.norm\.norm\.", ".norm."),
)
XVECTOR_NAMES = (
    *((rf"^blocks\.{3 * i}\.conv\.", f"layers.{i}.convolution.") for i in range(5)),
    *((rf"^blocks\.{3 * i + 2}\.norm\.", f"layers.{i}.norm.") for i in range(5)),
    (r"^blocks\.16\.w\.", "segment."),
)
LINEAR = re.compile(r"\.excitation\.(?:down|up)\.weight$|^segment\.weight$")  # convolutions of one frame there


def load_speechbrain(path: Path) -> FbankModel:
    """The ECAPA-TDNN or x-vector in a folder, or of a file, in evaluation mode, frozen.

    :raises UserError: when the file is missing, damaged, or of another network.
    """
    path = path / WEIGHTS if path.is_dir() else path
    state = read_state(path)
    if any(name.startswith("asp.") for name in state):
        return _ecapa(state, path)
    return _xvector(state, path)


def _ecapa(state: State, path: Path) -> Ecapa:
    what = "SpeechBrain's ECAPA-TDNN"
    named = {name: _plain(name, value) for name, value in renamed(state, ECAPA_NAMES).items()}
    found = sizes(
        named, path, what, channels="first.convolution.weight", aggregated="aggregation.convolution.weight",
        squeeze="blocks.0.excitation.down.weight", attention="pooling.hidden.convolution.weight",
        embedding_dim="segment.weight", part="blocks.0.res2.layers.0.convolution.weight",
    )  # fmt: skip
    context = named["pooling.hidden.convolution.weight"].shape[1] == 3 * found["aggregated"]
    scale = found["channels"] // found.pop("part")
    config = EcapaConfig(**found, scale=scale, context=context, padding="reflect", normalize="mean")
    model = Ecapa(config, SpeechbrainMelConfig(num_mel_bins=named["first.convolution.weight"].shape[1]))
    fill(model, named, path, what)
    return model


def _xvector(state: State, path: Path) -> Xvector:
    what = "SpeechBrain's x-vector"
    named = renamed(state, XVECTOR_NAMES)
    found = sizes(
        named, path, what, width="layers.0.convolution.weight", wide="layers.4.convolution.weight",
        embedding_dim="segment.weight", bias="segment.bias",
    )  # fmt: skip
    found.pop("bias")
    deviations = named["segment.weight"][:, found["wide"] :]
    named["segment.bias"] = named["segment.bias"] + ADDED * deviations.sum(1)
    config = XvectorConfig(**found, slope=SLOPE, floor=1e-12, padding="reflect", normalize="mean")
    model = Xvector(config, SpeechbrainMelConfig(num_mel_bins=named["layers.0.convolution.weight"].shape[1]))
    fill(model, named, path, what)
    return model


def _plain(name: str, value: Tensor) -> Tensor:
    return value[:, :, 0] if LINEAR.search(name) and value.ndim == 3 else value
