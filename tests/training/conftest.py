"""Pools of segments whose classes are easily told apart."""

from collections.abc import Callable

import pytest
import torch

from imlkd.features.segments import Segment
from imlkd.training.sampling import SegmentPool

DIM = 8


def make_pool(
    speakers: int = 3, utterances: int = 3, durations: tuple[int, ...] = (20, 40), frames: int = 60, seed: int = 0
) -> SegmentPool:
    """Noise around a mean frame that each speaker has."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(speakers, 1, DIM, generator=generator)
    names = [f"s{s}-u{u}" for s in range(speakers) for u in range(utterances)]
    rows = torch.cat([centres[int(n[1])] + torch.randn(frames, DIM, generator=generator) for n in names])
    segments = [Segment(n, start, d) for n in names for d in durations for start in range(0, frames - d + 1, 10)]
    offsets = {name: i * frames for i, name in enumerate(names)}
    return SegmentPool(rows, offsets, {name: int(name[1]) for name in names}, segments)


@pytest.fixture
def pool() -> Callable[..., SegmentPool]:
    return make_pool


@pytest.fixture
def leave_torch_as_it_was() -> object:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    torch.set_rng_state(before[2])
