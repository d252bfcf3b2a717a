"""`mvq`: the student predicts codebook indexes of the teacher's frames (Guo et al., ICASSP 2023, arXiv 2211.00508).

    L = w * mean over frames and codebooks of -log q_S( i_n | h, i_1 .. i_{n-1} ),   (i_1 .. i_N) = code of F_T

h is the student's last stage, the code that of a frame of the teacher's, both averaged over ``pool`` frames. Quantiser
and predictor are those of the PyPI package ``multi_quantization``: additive codebooks of 256 entries, a byte each, and
a predictor that sees the codes before its own. The quantiser is trained on the teacher's frames before the student is;
the predictor is dropped after training. Published for speech recognition, with 8 codebooks on a 1024-dimensional
teacher and 20,000 steps of the quantiser; the defaults here are for teachers of some hundred channels.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.config import bounded, chosen
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.distillation.stages import averaged
from imlkd.errors import UserError

CODEBOOK = 256
SEED = 7  # of the quantiser's own draws
LEARNING_RATE = 0.005  # of the quantiser, the package's own


@dataclass(frozen=True)
class MvqConfig:
    """Weight, size of the codes, and how long the quantiser learns."""

    weight: float = bounded(0.1, low=0.0, help="w, of the term")
    codebooks: int = chosen(4, (2, 4, 8, 16), help="bytes a frame")
    pool: int = bounded(2, low=1, high=100, help="frames of the teacher's last stage that share a code")
    hidden: int = bounded(256, low=8, high=4096, help="channels of the predictor")
    steps: int = bounded(100, low=4, high=100000, help="of the quantiser in each of its two phases")
    segments: int = bounded(256, low=2, help="training segments whose frames the quantiser learns from")


class Mvq(Method):
    """One term, ``codes``."""

    mean: Tensor
    deviation: Tensor

    needs = Needs(teacher_stages=True)
    aligns = frozenset({"frames"})

    def __init__(self, config: MvqConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        assert teacher is not None
        package = _package()
        config, width = self.config, teacher.stages[-1]
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.quantizer: nn.Module = package.Quantizer(width, CODEBOOK, config.codebooks).requires_grad_(False)
        self.predictor: nn.Module = package.JointCodebookLoss(
            student.stages[-1], config.codebooks, config.hidden, CODEBOOK, reduction="mean", checkpoint=False
        )

    def fit(self, sample: Callable[[int], Tensor]) -> None:
        """Train the quantiser on (B, C, T) of the teacher's last stage; torch's random numbers are left alone."""
        frames = averaged_frames(sample(self.config.segments), self.config.pool).flatten(0, 1)
        self.mean.copy_(frames.mean(0))
        self.deviation.copy_(frames.std(0).clamp_min(1e-5))
        quantizer = train_quantizer((frames - self.mean) / self.deviation, self.config.codebooks, self.config.steps)
        self.quantizer.load_state_dict(quantizer.state_dict())

    def codes(self, stage: Tensor) -> Tensor:
        """(B, C, T) of the teacher -> (B, T // pool, codebooks) indexes."""
        frames = (averaged_frames(stage, self.config.pool) - self.mean) / self.deviation
        indexes: Tensor = self.quantizer.encode(frames, as_bytes=False)  # type: ignore[operator]
        return indexes

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        assert batch.teacher_output is not None
        codes = self.codes(batch.teacher_output.stages[-1].float())
        ours = averaged(views[0].output.stages[-1].float(), codes.shape[1]).transpose(1, 2)
        return {"codes": self.config.weight * self.predictor(ours, codes)}


def averaged_frames(stage: Tensor, pool: int) -> Tensor:
    """(B, C, T) -> (B, T // pool, C): means over ``pool`` frames, one at least."""
    return averaged(stage, max(1, stage.shape[2] // pool)).transpose(1, 2)


def train_quantizer(frames: Tensor, codebooks: int, steps: int, rows: int = 512) -> nn.Module:
    """A quantiser of frames (N, C) into ``codebooks`` bytes; the same frames give the same one.

    :param steps: in each phase: codebooks of 16 entries first, then pairs of them as ones of 256.
    :param rows: frames a step.
    """
    before = random.getstate()  # the package draws from Python's generator too
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(SEED)
            torch.manual_seed(SEED)
            trainer = _package().QuantizerTrainer(
                frames.shape[1], codebooks, frames.device, steps, steps, lr=LEARNING_RATE
            )
            while not trainer.done():
                trainer.step(frames[torch.randint(len(frames), (min(rows, len(frames)),))])
            quantizer: nn.Module = trainer.get_quantizer()
            return quantizer
    finally:
        random.setstate(before)


def _package() -> Any:
    try:
        import multi_quantization
    except ImportError:
        raise UserError(
            "mvq: the package multi_quantization is missing: pip install --no-deps multi_quantization==0.1.1"
        ) from None
    return multi_quantization
