"""What benchmarks/attribution.py measures on: networks with drawn weights, utterances of 2 s, a gradient's profile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from imlkd.attribution.gradients import TeacherFunction
from imlkd.features.fbank import FbankConfig
from imlkd.features.speech import SpeechReader
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import build_network
from imlkd.models.resnet import ResnetConfig
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
    """``ecapa``, ``tdnn``, ``resnet`` or ``ge2e``: drawn weights, batch norms' statistics and head of these voices."""
    torch.manual_seed(0)
    made: dict[str, Callable[[], Any]] = {
        "ecapa": lambda: EcapaConfig(channels=channels),
        "tdnn": lambda: TdnnConfig(width=channels),
        "resnet": lambda: ResnetConfig(width=channels),
    }
    model: SpeakerModel = Ge2e() if name == "ge2e" else build_network(made[name](), FbankConfig())
    for module in model.modules():
        if isinstance(module, _BatchNorm):
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
class Step:
    """A kind of operation in one gradient: multiply-adds, bytes of what it reads and writes, and seconds of one thread.

    :param product: inputs -> outputs of a matrix product, or ``""``.
    """

    name: str
    product: str
    count: int
    macs: float
    bytes: float
    seconds: float

    def bound(self, rate: float, bandwidth: float) -> float:
        """Seconds at least: its multiply-adds at the matrix rate, or its maps at the memory's bandwidth."""
        return max(self.macs / rate, self.bytes / bandwidth)


class _Clock(TorchDispatchMode):
    """Notes every operation that is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, float, float, float]] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        started = time.thread_time()
        made = operation(*args, **(kwargs or {}))
        seconds = time.thread_time() - started
        given = [one for one in args if isinstance(one, Tensor)]
        results = [one for one in (made if isinstance(made, tuple) else (made,)) if isinstance(one, Tensor)]
        name = str(operation).removeprefix("aten.").split(".")[0]
        product, macs = _product(name, given, results)
        writes = any(one.alias_info is None or one.alias_info.is_write for one in operation._schema.returns)
        moved = float(sum(one.nbytes for one in [*given, *results])) if writes else 0.0  # nothing, for a view
        self.seen.append((name, product, macs, moved, seconds))
        return made


def _product(name: str, given: list[Tensor], results: list[Tensor]) -> tuple[str, float]:
    """What a matrix product takes and gives, and its multiply-adds."""
    if name in ("mm", "addmm", "bmm"):
        left, right = given[-2:]
        return f"{left.shape[-1]} -> {right.shape[-1]}", float(left.numel() * right.shape[-1])
    if name.startswith("convolution"):
        weight, places = (given[2], given[0]) if "backward" in name else (given[1], results[0])
        shape = f"{weight.shape[1]} -> {weight.shape[0]}, {weight.shape[2]} wide"
        return shape, float(places.numel() // places.shape[1] * weight.numel())
    return "", 0.0


def profile(function: TeacherFunction, features: Tensor, half: bool, repetitions: int = 4) -> list[Step]:
    """The steps of one gradient (forward, and backward to the input), each at its lowest time, on one thread."""
    lengths, targets = torch.full((len(features),), features.shape[1]), torch.zeros(len(features), dtype=torch.long)
    threads, runs = torch.get_num_threads(), []
    torch.set_num_threads(1)
    function.gradient(features.clone(), lengths, targets, half)  # what is made once is made
    for _ in range(repetitions):
        with torch.autograd.set_multithreading_enabled(False), _Clock() as clock:
            function.gradient(features.clone(), lengths, targets, half)
        runs.append(clock.seen)
    torch.set_num_threads(threads)
    kinds: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for times in zip(*runs, strict=True):
        name, product, macs, moved, _ = times[0]
        kinds.setdefault((name, product), []).append((macs, moved, min(one[4] for one in times)))
    return [Step(*kind, len(found), *map(sum, zip(*found, strict=True))) for kind, found in kinds.items()]


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cache_bandwidth(megabytes: float = 1.0, repetitions: int = 99) -> float:
    """Bytes a second that a copy of the size of a row's map reads and writes, on one thread."""
    source = torch.ones(int(megabytes * 2**18))
    target, taken = torch.empty_like(source), []
    for _ in range(repetitions):
        started = time.thread_time()
        target.copy_(source)
        taken.append(time.thread_time() - started)
    return 2 * source.nbytes / median(taken)


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, of two maps (T,)."""
    centred = [values.double() - values.double().mean() for values in (one, other)]
    return float(functional.cosine_similarity(*centred, dim=0))
