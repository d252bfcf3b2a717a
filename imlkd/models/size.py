"""How large a model is: parameters, and multiply-accumulates for two seconds of speech."""

from __future__ import annotations

import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from imlkd.models.speaker_model import SpeakerModel

SECONDS = 2.0


def count_parameters(model: SpeakerModel) -> int:
    """Parameters that an embedding needs; the speaker head is not one of them."""
    head = 0 if model.head is None else sum(p.numel() for p in model.head.parameters())
    return sum(p.numel() for p in model.parameters()) - head


@torch.no_grad()
def count_macs(model: SpeakerModel, seconds: float = SECONDS) -> int:
    """Multiply-accumulates of one embedding of ``seconds`` of speech, front-end excluded (half of PyTorch's FLOPs).

    Of a model that is not made of torch's layers nothing is counted: 0.

    oneDNN's fused recurrent layers are opaque to the counter, so it is switched off for the count.
    """
    if model.is_opaque:
        return 0
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(round(seconds * model.frontend.sample_rate), generator=generator)
    features = model.frontend(waveform).unsqueeze(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the switch warns of settings that only GPUs have
        return _macs(model, features)


def _macs(model: SpeakerModel, features: torch.Tensor) -> int:
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        model.encode(features, torch.tensor([features.shape[1]]))
    return int(counter.get_total_flops()) // 2
