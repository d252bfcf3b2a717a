"""What benchmarks/attribution.py measures on: networks with drawn weights, utterances of 2 s, a roofline of layers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.attribution.gradients import TeacherFunction
from imlkd.features.fbank import FbankConfig
from imlkd.features.speech import SpeechReader
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import build_network
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.tdnn import TdnnConfig

SAMPLES = 32000  # 2 s


def waveforms(count: int) -> list[tuple[Tensor, Tensor]]:
    """Two pieces of 2 s of each voice: of $SVMINI's train set where it is, else gliding harmonics in noise."""
    corpus = os.environ.get("SVMINI")
    if corpus and (Path(corpus) / "train").is_dir():
        speech = SpeechReader(Path(corpus) / "train", 16000)
        names = speech.names[:: max(1, len(speech.names) // count)][:count]
        whole = [speech.utterance(name) for name in names]
        return [(wave[:SAMPLES], wave[-SAMPLES:]) for wave in whole]
    return [(_voice(i, 0), _voice(i, 1)) for i in range(count)]


def _voice(voice: int, take: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * voice + take)
    time_, noise = torch.arange(SAMPLES) / 16000, torch.randn(SAMPLES, generator=generator)
    pitch = 90 + 17 * voice % 150 + 15 * torch.sin(2 * torch.pi * (0.7 + take / 3) * time_)
    phase = 2 * torch.pi * torch.cumsum(pitch, 0) / 16000
    formants = [500 + 37 * voice % 400, 1500 + 91 * voice % 900]
    wave = 0.02 * noise
    for harmonic in range(1, 20):
        gain = sum(1 / (1 + ((harmonic * pitch - formant) / 200) ** 2) for formant in formants)
        wave = wave + 0.1 * gain * torch.sin(harmonic * phase)
    return wave * (torch.sin(2 * torch.pi * (1.5 + take / 5) * time_) ** 2 + 0.02)


def network(name: str, channels: int, voices: list[tuple[Tensor, Tensor]]) -> SpeakerModel:
    """``ecapa``, ``tdnn`` or ``ge2e`` with drawn weights, its batch norms' statistics and its head of these voices."""
    torch.manual_seed(0)
    model: SpeakerModel = Ge2e()
    if name != "ge2e":
        config = EcapaConfig(channels=channels) if name == "ecapa" else TdnnConfig(width=channels)
        model = build_network(config, FbankConfig())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the mean over all that was seen
    first, second = (torch.stack([model.frontend(pair[i]) for pair in voices]) for i in (0, 1))
    lengths = torch.full((len(voices),), first.shape[1])
    with torch.no_grad():
        model.train()(first, lengths)
        enrolled = model.eval().encode(second, lengths).embedding
        model.head = CosineHead(model.embedding_dim, [str(i) for i in range(len(voices))])
        model.head.weight.copy_(enrolled - 0.9 * enrolled.mean(0) if len(voices) > 1 else enrolled)
    return model.requires_grad_(False)


@dataclass(frozen=True)
class Layer:
    """A kind of layer in one gradient: multiply-adds, bytes moved at least, seconds it takes alone, and at best."""

    name: str
    count: int
    macs: float
    bytes: float
    seconds: float
    bound: float


def roofline(
    function: TeacherFunction, features: Tensor, half: bool, rate: float, bandwidth: float
) -> tuple[list[Layer], float]:
    """Layers with weights of one gradient (forward, and backward to the input), each timed alone; and the whole's time.

    A layer cannot be faster than its multiply-adds at the matrix rate, nor than its maps at the memory's bandwidth.
    """
    lengths, targets = torch.full((len(features),), features.shape[1]), torch.zeros(len(features), dtype=torch.long)
    whole = median(timed(lambda: function.gradient(features.clone(), lengths, targets, half)) for _ in range(3))
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    wanted = [m for m in function.model.modules() if isinstance(m, nn.Conv1d | nn.Linear | nn.LSTM)]
    handles = [
        m.register_forward_hook(lambda m, i, o: seen.append((m, i[0].detach(), o[0] if isinstance(o, tuple) else o)))
        for m in wanted
    ]
    function.values(features, lengths, targets)
    for handle in handles:
        handle.remove()
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    size = 2 if half else 4
    for module, given, made in seen:
        weights = sum(p.numel() for p in module.parameters() if p.ndim > 1)
        places = made.numel() // made.shape[1] if isinstance(module, nn.Conv1d) else made.numel() // made.shape[-1]
        moved = 2.0 * size * (given.numel() + made.numel() + weights)
        taken = _alone(module, given, half and not isinstance(module, nn.Linear))
        kinds.setdefault(_kind(module), []).append((2.0 * weights * places, moved, taken))
    layers = []
    for kind, found in kinds.items():
        macs, moved, taken = (sum(column) for column in zip(*found, strict=True))
        bound = sum(max(one / rate, other / bandwidth) for one, other, _ in found)
        layers.append(Layer(kind, len(found), macs, moved, taken, bound))
    return layers, whole


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv1d):
        return f"conv {module.in_channels}->{module.out_channels}, {module.kernel_size[0]} wide"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features}->{module.out_features}"
    assert isinstance(module, nn.LSTM)
    return f"LSTM {module.input_size}->{module.hidden_size}"


def _alone(module: nn.Module, given: Tensor, half: bool) -> float:
    def once() -> None:
        leaf = given.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = module(leaf)
        made = made[0] if isinstance(made, tuple) else made
        torch.autograd.grad(made.sum(), leaf)

    return median(timed(once) for _ in range(3))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def memory_bandwidth(megabytes: int = 64) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(megabytes * 2**20 // 4)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / median(timed(lambda: target.copy_(source)) for _ in range(7))


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, of two maps (T,)."""
    centred = [values.double() - values.double().mean() for values in (one, other)]
    return float(functional.cosine_similarity(*centred, dim=0))
