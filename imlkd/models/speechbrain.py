"""Networks of SpeechBrain: their state dicts, name by name, as networks of ours. The package is never imported.

The shape is read from the tensors; the settings that no tensor shows (dilations, kernel sizes, activations) are the
package's defaults, with which its published models are built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from imlkd.models.ecapa import EcapaConfig

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
LINEAR = re.compile(r"\.excitation\.(?:down|up)\.weight$|^segment\.weight$")  # convolutions of one frame there


def ecapa_of(state: Mapping[str, Tensor]) -> tuple[EcapaConfig, dict[str, Tensor]]:
    """Settings and weights of the ECAPA-TDNN whose state dict is given.

    :raises KeyError: when a tensor that shows the shape is missing.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in ECAPA_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value[:, :, 0] if LINEAR.search(name) else value
    parts = {name.split(".")[4] for name in renamed if name.startswith("blocks.0.res2.layers.")}
    config = EcapaConfig(
        channels=len(renamed["first.convolution.weight"]),
        aggregated=len(renamed["aggregation.convolution.weight"]),
        scale=1 + len(parts),
        squeeze=len(renamed["blocks.0.excitation.down.weight"]),
        attention=len(renamed["pooling.hidden.convolution.weight"]),
        embedding_dim=len(renamed["segment.weight"]),
        padding="reflect",
        normalize="mean",
    )
    return config, renamed
