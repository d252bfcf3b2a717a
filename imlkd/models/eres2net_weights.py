"""ERes2Net by the names of 3D-Speaker's tensors, and of wespeaker's copy of it, which counts its parts otherwise."""

from __future__ import annotations

import re
from pathlib import Path

from imlkd.errors import UserError
from imlkd.features.teacher_fbanks import SnippedFbankConfig
from imlkd.models.eres2net import STAGES, Eres2net, Eres2netConfig
from imlkd.models.foreign import State, fill, renamed, sizes

WHAT = "ERes2Net with one embedding layer"
MARK = "layer1_downsample.weight"  # a tensor that no other network has
FUSION = r"(fusions\.\d+)\.local_att"
NAMES = (
    (r"^conv1\.", "first.0."),
    (r"^bn1\.", "first.1."),
    *((rf"^layer{i + 1}_downsample\.", f"downs.{i}.") for i in range(STAGES - 1)),
    *((rf"^fuse_mode{'1234'[: i + 2]}\.", f"fusions.{i}.") for i in range(STAGES - 1)),
    *((rf"^layer{i + 1}\.", f"stages.{i}.") for i in range(STAGES)),
    (r"\.conv1\.", ".first."),
    (r"\.bn1\.", ".first_norm."),
    (r"\.conv3\.", ".last."),
    (r"\.bn3\.", ".last_norm."),
    (r"\.convs\.", ".contexts."),
    (r"\.bns\.", ".norms."),
    (r"\.fuse_models\.", ".fusions."),
    (rf"{FUSION}\.0\.", r"\1.down."),
    (rf"{FUSION}\.1\.", r"\1.down_norm."),
    (rf"{FUSION}\.3\.", r"\1.up."),
    (rf"{FUSION}\.4\.", r"\1.up_norm."),
    (r"^seg_1\.", "segment."),
)


def eres2net_of(state: State, path: Path, fbank: SnippedFbankConfig, floor: float = 1e-7) -> Eres2net:
    """The network, in evaluation mode, frozen.

    :raises UserError: when the tensors are those of another one.
    """
    named = renamed(_counted_from_first(state), NAMES)
    found = sizes(
        named, path, WHAT, width="first.0.weight", embedding_dim="segment.weight",
        part="stages.0.0.contexts.0.weight", outputs="stages.0.0.last.weight", inner="stages.0.0.first.weight",
    )  # fmt: skip
    width, part, outputs, inner = found["width"], found["part"], found["outputs"], found["inner"]
    blocks = [len({name.split(".")[2] for name in named if name.startswith(f"stages.{i}.")}) for i in range(STAGES)]
    if not all(blocks):
        raise UserError(f"{path}: not the weights of {WHAT}: its stages have {blocks} blocks")
    config = Eres2netConfig(
        width=width, blocks=blocks, scale=inner // part, part=64 * part // width, expansion=outputs // width,
        embedding_dim=found["embedding_dim"], floor=floor, normalize="mean",
    )  # fmt: skip
    bins = named["segment.weight"].shape[1] // (2 * outputs * 8) * 8
    model = Eres2net(config, SnippedFbankConfig(fbank.sample_rate, bins, fbank.window, fbank.scale))
    fill(model, named, path, WHAT)
    return model


def _counted_from_first(state: State) -> State:
    """In fused blocks wespeaker calls the first part ``conv2_1`` and counts the others from 0."""
    fused = {match[1] for name in state if (match := re.match(r"(layer\d\.\d+)\.conv2_1\.", name))}
    found = {}
    for name, value in state.items():
        match = re.match(r"(layer\d\.\d+)\.(convs|bns)\.(\d+)\.(.*)", name)
        if match and match[1] in fused:
            name = f"{match[1]}.{match[2]}.{int(match[3]) + 1}.{match[4]}"
        found[re.sub(r"\.bn2_1\.", ".bns.0.", re.sub(r"\.conv2_1\.", ".convs.0.", name))] = value
    return found
