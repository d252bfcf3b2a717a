"""WavLM, HuBERT and wav2vec 2.0 as teachers: the networks of torchaudio with weights from a file.

Chen et al., "WavLM", IEEE JSTSP 2022; Hsu et al., "HuBERT", TASLP 2021; Baevski et al., "wav2vec 2.0", NeurIPS 2020.
They hear samples, were never told of speakers, and give no speaker embedding, so one is made (our reading): the layers'
outputs are averaged with equal weights, where SUPERB's weighted sum (Yang et al., Interspeech 2021) begins, then mean
and standard deviation over time, each value standardised over the training segments (``fit_scale``), since the cosine
of what all speakers share says nothing. Layers are stages, 20 ms a frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.models import wav2vec2_model, wavlm_model

from imlkd.errors import UserError
from imlkd.features.wave_frames import WaveFrames, samples_of
from imlkd.models.foreign import State, fill, read_state, renamed
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

WHAT = "torchaudio's WavLM, HuBERT or wav2vec 2.0"
RATE = 16000
STRIDES = (5, 2, 2, 2, 2, 2, 2)
MAX_DISTANCE = 800  # of WavLM's relative positions, which no tensor shows
NAMES = (
    (r"^model\.", ""),
    (r"(pos_conv_embed\.conv\.)weight_g$", r"\1parametrizations.weight.original0"),  # saved by an older torch
    (r"(pos_conv_embed\.conv\.)weight_v$", r"\1parametrizations.weight.original1"),
)
EXTRACTOR, POSITIONS = "feature_extractor.conv_layers", "encoder.transformer.pos_conv_embed.conv"
LAYER = "encoder.transformer.layers"
WAVLM_HEADS = f"{LAYER}.0.attention.rel_attn_embed.weight"


@dataclass(frozen=True)
class SelfSupervisedConfig:
    """What the tensors show.

    :param convolutions: channels and kernel of each layer in front.
    :param layered: layer norm everywhere, before each transformer layer, on a normalised waveform: the large networks.
    :param buckets: of WavLM's relative positions; 0: HuBERT or wav2vec 2.0, which are one network.
    """

    convolutions: list[list[int]]
    bias: bool
    layered: bool
    width: int
    layers: int
    heads: int
    inner: int
    kernel: int
    groups: int
    buckets: int


class SelfSupervised(SpeakerModel):
    """The network that ``config`` describes, with drawn weights."""

    architecture = "self-supervised"
    network: Any  # torchaudio.models.Wav2Vec2Model
    centre: Tensor
    spread: Tensor

    def __init__(self, config: SelfSupervisedConfig) -> None:
        super().__init__(WaveFrames(RATE), 2 * config.width)
        self.config = config
        self.network = _network(config)
        self.min_frames = _receptive_samples(config) // self.frontend.dim + 1
        self.register_buffer("centre", torch.zeros(self.embedding_dim))
        self.register_buffer("spread", torch.ones(self.embedding_dim))

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Rows of one length together, so that nothing behind a row's end is heard, by norms over time either."""
        lengths = lengths.to(features.device)
        groups = [(lengths == length).nonzero().flatten() for length in sorted(set(lengths.tolist()))]
        found = [self._layers(samples_of(features[rows, : int(lengths[rows[0]])])) for rows in groups]
        order = torch.cat(groups).argsort()
        frames = max(layers[0].shape[2] for layers in found)
        stages = [
            torch.cat([functional.pad(stage, (0, frames - stage.shape[2])) for stage in same])[order]
            for same in zip(*found, strict=True)
        ]
        pooled = torch.cat([_pooled(layers) for layers in found])[order]
        return SpeakerOutput(stages, pooled, (pooled - self.centre) / self.spread, None)

    def _layers(self, samples: Tensor) -> list[Tensor]:
        """(B, samples) -> the output of each layer, (B, width, T)."""
        if self.config.layered:
            samples = functional.layer_norm(samples, samples.shape[1:])
        return [layer.transpose(1, 2) for layer in self.network.extract_features(samples)[0]]

    def fit_scale(self, embeddings: Tensor) -> Tensor:
        """Standardise with the statistics of these (N, D), given before they were known; returns them standardised."""
        self.centre.copy_(embeddings.mean(0))
        self.spread.copy_(embeddings.std(0, correction=0).clamp_min(1e-6))
        return (embeddings - self.centre) / self.spread

    def settings(self) -> dict[str, Any]:
        return {"network": asdict(self.config)}


def _pooled(layers: list[Tensor]) -> Tensor:
    mean = torch.stack(layers).mean(0)
    return torch.cat([mean.mean(2), (mean.var(2, correction=0) + 1e-7).sqrt()], 1)


def _receptive_samples(config: SelfSupervisedConfig) -> int:
    samples = 1
    for (_, kernel), stride in reversed(list(zip(config.convolutions, STRIDES, strict=True))):
        samples = (samples - 1) * stride + kernel
    return samples


def _network(config: SelfSupervisedConfig) -> nn.Module:
    common: dict[str, Any] = {
        "extractor_mode": "layer_norm" if config.layered else "group_norm",
        "extractor_conv_layer_config": [
            (channels, kernel, stride) for (channels, kernel), stride in zip(config.convolutions, STRIDES, strict=True)
        ],
        "extractor_conv_bias": config.bias,
        "encoder_embed_dim": config.width,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": config.kernel,
        "encoder_pos_conv_groups": config.groups,
        "encoder_num_layers": config.layers,
        "encoder_num_heads": config.heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": config.inner,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": config.layered,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
    if config.buckets:
        common |= {"encoder_num_buckets": config.buckets, "encoder_max_distance": MAX_DISTANCE}
        wavlm: nn.Module = wavlm_model(**common)
        return wavlm
    network: nn.Module = wav2vec2_model(**common)
    return network


def config_of(state: Mapping[str, Tensor], path: Path) -> SelfSupervisedConfig:
    """The shape of the network whose tensors these are.

    HuBERT and wav2vec 2.0 do not show their heads: published ones have a head for 64 values, and 16 at most.

    :raises UserError: when one is missing, naming it.
    """

    def shape(name: str) -> torch.Size:
        if name not in state:
            raise UserError(f"{path}: not the weights of {WHAT}: lacks {name}")
        return state[name].shape

    convolutions = [list(shape(f"{EXTRACTOR}.{i}.conv.weight")) for i in range(len(STRIDES))]
    width = shape("encoder.feature_projection.projection.weight")[0]
    position = shape(f"{POSITIONS}.parametrizations.weight.original1")
    numbers = {int(match[1]) for name in state if (match := re.match(rf"{re.escape(LAYER)}\.(\d+)\.", name))}
    shape(f"{LAYER}.{len(numbers) - 1}.final_layer_norm.weight")
    is_wavlm = WAVLM_HEADS in state
    buckets, heads = state[WAVLM_HEADS].shape if is_wavlm else (0, min(16, max(1, width // 64)))
    return SelfSupervisedConfig(
        convolutions=[[channels, kernel] for channels, _, kernel in convolutions],
        bias=f"{EXTRACTOR}.0.conv.bias" in state,
        layered=f"{EXTRACTOR}.1.layer_norm.weight" in state,
        width=width,
        layers=len(numbers),
        heads=heads,
        inner=shape(f"{LAYER}.0.feed_forward.intermediate_dense.weight")[0],
        kernel=position[2],
        groups=width // position[1],
        buckets=buckets,
    )


def load_torchaudio(path: Path) -> SelfSupervised:
    """The network whose state dict torchaudio has saved, in evaluation mode, frozen; without the layer of a recogniser.

    :raises UserError: when the file is missing, damaged or of another network.
    """
    state: State = renamed(read_state(path), NAMES)
    state = {name: value for name, value in state.items() if not name.startswith(("aux.", "mask_generator."))}
    model = SelfSupervised(config_of(state, path))
    fill(model.network, state, path, WHAT)
    model.eval().requires_grad_(False)
    return model


def open_self_supervised(folder: Path, said: Mapping[str, Any]) -> SelfSupervised:
    """The network that ``model.yaml`` of a model folder describes, with drawn weights."""
    return SelfSupervised(SelfSupervisedConfig(**said["network"]))
