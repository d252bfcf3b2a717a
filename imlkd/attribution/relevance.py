"""From an attribution map to frame relevance: how much each 10 ms frame carries the speaker."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.attribution.baselines import BASELINES
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.attribution.paths import PATHS
from imlkd.attribution.quantities import OF_CLASS
from imlkd.attribution.rules import RULES
from imlkd.attribution.segments import BACKENDS
from imlkd.config import bounded, chosen, switch, text
from imlkd.features.segments import SegmentsConfig


@dataclass(frozen=True)
class EvidenceConfig:
    """Contiguous segments that carry the speaker, of each curve."""

    minimum: float = bounded(0.0, low=0.0, high=60.0, help="shortest segment, seconds; 0: none are looked for")
    gap: float = bounded(0.1, low=0.01, high=60.0, help="shortest gap between segments, seconds")
    penalty: float = bounded(2.0, low=0.0, high=32.0, help="nats that each switch costs")
    level: float = bounded(1.0, low=0.01, high=100.0, help="times the mean relevance, where a frame is evenly either")
    backend: str = chosen("auto", BACKENDS, help="what computes them; the results are the same")


@dataclass(frozen=True)
class OcclusionConfig:
    """How a teacher is explained that gives no gradient (`onnx`)."""

    window: float = bounded(0.2, low=0.01, high=60.0, help="seconds that are replaced at a time")
    hop: float = bounded(0.1, low=0.01, high=60.0, help="seconds from one window to the next")


@dataclass(frozen=True)
class RelevanceConfig:
    """What is explained, how finely, and how a map becomes a gate."""

    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    quantity: str = chosen("cosine", OF_CLASS, help="of the segment's own speaker, that is explained")
    temperature: float = bounded(4.0, low=0.01, high=1000.0, help="of a probability that is explained, scale 30")
    baseline: str = chosen("mean", BASELINES, help="where a path begins; average: of 100 utterances of the data")
    path: str = chosen("features", PATHS, help="what the path is straight in: the features, or their exponential")
    rule: str = chosen("adaptive", RULES, help="quadrature; adaptive halves the worst pieces of the path")
    power: float = bounded(1.0, low=1.0, high=16.0, help="p of alpha = u^p, which packs nodes at the baseline")
    nodes: int = bounded(8, low=2, high=512, help="gradients a segment, of the first rule")
    max_nodes: int = bounded(128, low=2, high=4096, help="of the last one; nodes double, where it needs them, up to it")
    tolerance: float = bounded(0.05, low=1e-9, high=10.0, help="relative completeness error that is still right")
    sign: str = chosen("relu", ("relu", "abs", "signed"), help="what of the map counts")
    smoothing: int = bounded(5, low=1, high=99, help="frames of the moving average")
    clip: float = bounded(0.95, low=0.5, high=1.0, help="quantile of the frames that is the top")
    rho: float = bounded(0.5, low=0.0, high=1.0, help="gate of an irrelevant frame")
    batch: int = bounded(16, low=1, high=4096, help="gradients at once, where memory allows")
    precision: str = chosen("float32", ("float32", "bfloat16", "auto"), help="of gradients; auto: as a trial says")
    memory: str = text("", help="budget of a job, such as 2G; empty: half of what is free")
    full: bool = switch(True, help="also the full utterance, beside the durations")
    top_k: int = bounded(10, low=1, high=100000, help="classes with the highest cosines, kept for each segment")
    on_failure: str = chosen("keep", ("keep", "exclude"), help="segments over `tolerance`: kept, or left out")
    max_failing: float = bounded(0.01, low=0.0, high=1.0, help="share of maps over `tolerance`, more stop the stage")
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)

    def check(self) -> None:
        """UserError where values do not go together."""
        self.integration().check()

    def integration(self) -> IntegrationConfig:
        """The engine's settings. The sum over bins commutes with the integral for signed relevance alone."""
        return IntegrationConfig(
            path=self.path,
            rule=self.rule,
            power=self.power,
            nodes=self.nodes,
            max_nodes=self.max_nodes,
            tolerance=self.tolerance,
            policy=self.on_failure,
            max_failing=self.max_failing,
            resolution="frame" if self.sign == "signed" else "time-frequency",
            precision=self.precision,
            memory=self.memory,
            rows=self.batch,
        )

    def excludes(self, error: float) -> bool:
        """Whether a map with this completeness error is left out."""
        return self.on_failure == "exclude" and error > self.tolerance


def frame_relevance(attribution: Tensor, config: RelevanceConfig) -> Tensor:
    """(B, T, F) attribution, or for signed relevance (B, T), -> (B, T) relevance in [0, 1].

    Sum over bins, moving average, clip at the quantile (single frames do not set the scale), min-max per segment.
    """
    summed = frame_sums(attribution, config)
    summed = torch.minimum(summed, summed.quantile(config.clip, dim=1, keepdim=True))
    low, high = summed.amin(1, keepdim=True), summed.amax(1, keepdim=True)
    return (summed - low) / (high - low).clamp_min(torch.finfo(summed.dtype).tiny)  # 0 where nothing stands out


def frame_sums(attribution: Tensor, config: RelevanceConfig) -> Tensor:
    """(B, T, F) attribution, or for signed relevance (B, T), -> (B, T): sum over bins and moving average alone."""
    if config.sign == "relu":
        attribution = attribution.clamp_min(0.0)
    elif config.sign == "abs":
        attribution = attribution.abs()
    summed = attribution.sum(2) if attribution.ndim == 3 else attribution
    return _moving_average(summed, config.smoothing)


def _moving_average(values: Tensor, frames: int) -> Tensor:
    """Centred mean over ``frames``; at the edges over what is there."""
    if frames == 1:
        return values
    left = (frames - 1) // 2
    padded = functional.pad(torch.stack([values, torch.ones_like(values)]), (left, frames - 1 - left))
    sums = padded.unfold(2, frames, 1).sum(3)
    return sums[0] / sums[1]
