"""Speaker models of wespeaker: a folder with ``config.yaml`` and ``avg_model.pt``. The package is never imported.

``config.yaml`` names the network; its shape is read from the tensors. The front-end is wespeaker's: Kaldi's log mel
with Hamming windows and snipped edges, no dither, the mean of each band taken away. CAM++ and ERes2Net are also those
of 3D-Speaker, which uses the same names for its tensors, Povey windows and samples in [-1, 1).
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imlkd.errors import UserError
from imlkd.features.teacher_fbanks import SnippedFbankConfig
from imlkd.files import os_errors, parse_yaml
from imlkd.models.campplus import CampPlus, CampPlusConfig
from imlkd.models.ecapa import Ecapa, EcapaConfig
from imlkd.models.eres2net_weights import MARK, eres2net_of
from imlkd.models.fbank_model import FbankModel
from imlkd.models.foreign import State, fill, read_state, renamed, sizes
from imlkd.models.resnet import BLOCKS, Resnet, ResnetConfig
from imlkd.models.xvector import Xvector, XvectorConfig

CONFIG, WEIGHTS = "config.yaml", "avg_model.pt"
XVECTOR_NAMES = (
    *((rf"^frame_{i + 1}\.conv_1d\.", f"layers.{i}.convolution.") for i in range(5)),
    *((rf"^frame_{i + 1}\.bn\.", f"layers.{i}.norm.") for i in range(5)),
    (r"^seg_1\.", "segment."),
    (r"^seg_bn_1\.", "second.1."),
    (r"^seg_2\.", "second.2."),
)
BLOCK_NAMES = (
    (r"\.conv1\.", ".first."),
    (r"\.bn1\.", ".first_norm."),
    (r"\.conv2\.", ".second."),
    (r"\.bn2\.", ".second_norm."),
)
RESNET_NAMES = (
    (r"^conv1\.", "first.0."),
    (r"^bn1\.", "first.1."),
    *((rf"^layer{i + 1}\.", f"stages.{i}.") for i in range(4)),
    *BLOCK_NAMES,
    (r"^seg_1\.", "segment."),
)
CAMPPLUS_NAMES = (
    (r"^head\.conv1\.", "front.first.0."),
    (r"^head\.bn1\.", "front.first.1."),
    (r"^head\.conv2\.", "front.last.0."),
    (r"^head\.bn2\.", "front.last.1."),
    (r"^head\.layer1\.(\d)\.", r"front.blocks.\1."),
    (r"^head\.layer2\.0\.", "front.blocks.2."),
    (r"^head\.layer2\.1\.", "front.blocks.3."),
    *((rf"(front\.blocks\.\d){pattern}", rf"\1{replacement}") for pattern, replacement in BLOCK_NAMES),
    (r"^xvector\.tdnn\.linear\.", "first.0."),
    (r"^xvector\.tdnn\.nonlinear\.batchnorm\.", "first.1."),
    (r"\.nonlinear1\.batchnorm\.", ".first_norm."),
    (r"\.nonlinear2\.batchnorm\.", ".second_norm."),
    (r"\.cam_layer\.linear_local\.", ".second.local."),
    (r"\.cam_layer\.linear1\.", ".second.down."),
    (r"\.cam_layer\.linear2\.", ".second.up."),
    (r"(tdnnd\d+)\.linear1\.", r"\1.first."),
    (r"^xvector\.out_nonlinear\.batchnorm\.", "norm."),
    (r"^xvector\.dense\.linear\.", "segment.0."),
    (r"^xvector\.dense\.nonlinear\.batchnorm\.", "segment.1."),
)


def load_wespeaker(path: Path) -> FbankModel:
    """The ECAPA-TDNN, ResNet, CAM++ or x-vector in a folder, in evaluation mode, frozen.

    :raises UserError: when a file is missing or damaged, or the network is another one.
    """
    described = _described(path / CONFIG)
    told = described.get("model")
    name = told if isinstance(told, str) else ""
    state = {key: value for key, value in read_state(path / WEIGHTS).items() if not key.startswith("projection.")}
    for prefix, build in NETWORKS.items():
        if name.startswith(prefix):
            return build(state, path / WEIGHTS, SnippedFbankConfig(sample_rate=_sample_rate(described, path / CONFIG)))
    raise UserError(f"{path / CONFIG}: model {name!r} cannot be imported: known are {', '.join(NETWORKS)}")


def load_3dspeaker(path: Path) -> FbankModel:
    """CAM++ or ERes2Net as 3D-Speaker publishes it: one file of weights.

    :raises UserError: when it is missing, damaged or of another network.
    """
    state, fbank = read_state(path), SnippedFbankConfig(window="povey", scale=1.0)
    if MARK in state:
        return eres2net_of(state, path, fbank, floor=1e-8)
    return _campplus(state, path, fbank, floor=1e-12)


def _described(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file: give a folder of wespeaker, which holds {CONFIG} and {WEIGHTS}")
    try:
        with os_errors(path):
            described = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not YAML of plain values") from error
    if not isinstance(described, dict):
        raise UserError(f"{path}: not a configuration of wespeaker: it names no model")
    return described


def _sample_rate(described: Mapping[str, Any], path: Path) -> int:
    arguments = described.get("dataset_args")
    rate = arguments.get("resample_rate", 16000) if isinstance(arguments, dict) else 16000
    if not isinstance(rate, int) or not 8000 <= rate <= 48000:
        raise UserError(f"{path}: resample_rate: {reprlib.repr(rate)} is no sample rate between 8000 and 48000")
    return rate


def _with_bins(fbank: SnippedFbankConfig, bins: int) -> SnippedFbankConfig:
    return SnippedFbankConfig(fbank.sample_rate, bins, fbank.window, fbank.scale)


def _unscaled(state: State, prefix: str, width: int, running: bool = False) -> None:
    """Give a batch norm its missing scale and shift, or, with ``running``, make one that changes nothing."""
    state.setdefault(f"{prefix}.weight", torch.ones(width))
    state.setdefault(f"{prefix}.bias", torch.zeros(width))
    if running:
        state[f"{prefix}.running_mean"] = torch.zeros(width)
        state[f"{prefix}.running_var"] = torch.full((width,), 1.0 - 1e-5)  # with the norm's own 1e-5: 1


def _xvector(state: State, path: Path, fbank: SnippedFbankConfig) -> Xvector:
    what = "wespeaker's x-vector"
    named = renamed(state, XVECTOR_NAMES)
    found = sizes(
        named, path, what, width="layers.0.convolution.weight", wide="layers.4.convolution.weight",
        embedding_dim="segment.weight",
    )  # fmt: skip
    for i in range(5):
        _unscaled(named, f"layers.{i}.norm", found["wide"] if i == 4 else found["width"])
    config = XvectorConfig(**found, segment_layers=2, padding="none", normalize="mean")
    model = Xvector(config, _with_bins(fbank, named["layers.0.convolution.weight"].shape[1]))
    fill(model, named, path, what)
    return model


def _resnet(state: State, path: Path, fbank: SnippedFbankConfig) -> Resnet:
    what = "wespeaker's ResNet of basic blocks with one embedding layer"
    named = renamed(state, RESNET_NAMES)
    found = sizes(named, path, what, width="first.0.weight", embedding_dim="segment.weight")
    counts = tuple(len({name.split(".")[2] for name in named if name.startswith(f"stages.{i}.")}) for i in range(4))
    depth = next((depth for depth, blocks in BLOCKS.items() if blocks == counts), None)
    if depth is None or "stages.0.0.conv3.weight" in named:
        raise UserError(f"{path}: not the weights of {what}: its stages have {counts} blocks")
    bins = named["segment.weight"].shape[1] // (2 * 8 * found["width"]) * 8
    model = Resnet(ResnetConfig(**found, depth=depth, normalize="mean"), _with_bins(fbank, bins))
    fill(model, named, path, what)
    return model


def _campplus(state: State, path: Path, fbank: SnippedFbankConfig, floor: float = 1e-7) -> CampPlus:
    what = "CAM++"
    named = {re.sub(r"^xvector\.", "", name): value for name, value in renamed(state, CAMPPLUS_NAMES).items()}
    for i in range(3):
        names = ((rf"^transit{i + 1}\.nonlinear\.batchnorm\.", f"blocks.{i}.norm."),
                 (rf"^transit{i + 1}\.linear\.", f"blocks.{i}.transit."))  # fmt: skip
        named = renamed(named, names)
        named = {_dense(name, i): value for name, value in named.items()}
    named = {name: value[:, :, 0] if name == "segment.0.weight" else value for name, value in named.items()}
    found = sizes(
        named, path, what, front="front.first.0.weight", width="first.0.weight", embedding_dim="segment.0.weight",
        growth="blocks.0.layers.0.second.local.weight", inner="blocks.0.layers.0.first.weight",
    )  # fmt: skip
    layers = [len({n.split(".")[3] for n in named if n.startswith(f"blocks.{i}.layers.")}) for i in range(3)]
    bottleneck = found.pop("inner") // found["growth"]
    bins = named["first.0.weight"].shape[1] // found["front"] * 8
    config = CampPlusConfig(**found, bottleneck=bottleneck, layers=layers, floor=floor, normalize="mean")
    model = CampPlus(config, _with_bins(fbank, bins))
    fill(model, named, path, what)
    return model


def _dense(name: str, block: int) -> str:
    match = re.match(rf"^block{block + 1}\.tdnnd(\d+)\.", name)
    return f"blocks.{block}.layers.{int(match[1]) - 1}.{name[match.end() :]}" if match else name


def _ecapa(state: State, path: Path, fbank: SnippedFbankConfig) -> Ecapa:
    what = "wespeaker's ECAPA-TDNN"
    scale = 1 + len({name for name in state if re.match(r"layer2\.se_res2block\.1\.convs\.\d+\.weight", name)})
    named = renamed(state, ecapa_names(scale))
    found = sizes(
        named, path, what, channels="first.convolution.weight", aggregated="aggregation.convolution.weight",
        squeeze="blocks.0.excitation.down.weight", attention="pooling.hidden.weight", embedding_dim="segment.weight",
    )  # fmt: skip
    for name in [name for name in named if re.match(r"blocks\.\d\.(first|last)\.", name)]:
        named[name] = _untouched_first(name, named[name], found["channels"] // scale)
    _fold_last_norm(named)
    _unscaled(named, "aggregation.norm", found["aggregated"], running=True)
    context = named["pooling.hidden.weight"].shape[1] == 3 * found["aggregated"]
    config = EcapaConfig(**found, scale=scale, context=context, rectified=False, normalize="mean")
    model = Ecapa(config, _with_bins(fbank, named["first.convolution.weight"].shape[1]))
    fill(model, named, path, what)
    return model


def ecapa_names(scale: int) -> list[tuple[str, str]]:
    """Substitutions for the names of an ECAPA-TDNN."""
    names = [(r"^layer1\.conv\.", "first.convolution."), (r"^layer1\.bn\.", "first.norm.")]
    for i in range(3):
        block, ours = rf"^layer{i + 2}\.se_res2block\.", f"blocks.{i}."
        names += [
            (rf"{block}0\.conv\.", f"{ours}first.convolution."),
            (rf"{block}0\.bn\.", f"{ours}first.norm."),
            (rf"{block}1\.convs\.(\d+)\.", rf"{ours}res2.layers.\1.convolution."),
            (rf"{block}1\.bns\.(\d+)\.", rf"{ours}res2.layers.\1.norm."),
            (rf"{block}2\.conv\.", f"{ours}last.convolution."),
            (rf"{block}2\.bn\.", f"{ours}last.norm."),
            (rf"{block}3\.linear1\.", f"{ours}excitation.down."),
            (rf"{block}3\.linear2\.", f"{ours}excitation.up."),
        ]
    return [
        *names,
        (r"^conv\.", "aggregation.convolution."),
        (r"^pool\.linear1\.", "pooling.hidden."),
        (r"^pool\.linear2\.", "pooling.weights."),
        (r"^bn\.", "norm."),
        (r"^linear\.", "segment."),
    ]


def _fold_last_norm(state: State) -> None:
    """The batch norm that some have behind the embedding layer becomes part of it."""
    if "bn2.weight" not in state:
        return
    norm = {part: state.pop(f"bn2.{part}") for part in ("weight", "bias", "running_mean", "running_var")}
    state.pop("bn2.num_batches_tracked", None)
    scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
    state["segment.weight"] = state["segment.weight"] * scale[:, None]
    state["segment.bias"] = (state["segment.bias"] - norm["running_mean"]) * scale + norm["bias"]


def _untouched_first(name: str, value: Tensor, part: int) -> Tensor:
    """wespeaker leaves the last part of the channels as it is, our Res2 layer the first: move it to the front."""
    if ".first." in name and value.ndim:
        return value.roll(part, 0)
    return value.roll(part, 1) if name.endswith("last.convolution.weight") else value


NETWORKS: Mapping[str, Callable[[State, Path, SnippedFbankConfig], FbankModel]] = {
    "ECAPA_TDNN": _ecapa,
    "ResNet": _resnet,
    "CAMPPlus": _campplus,
    "ERes2Net": eres2net_of,
    "XVEC": _xvector,
}
