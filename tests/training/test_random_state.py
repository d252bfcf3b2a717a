"""Random states come back for every generator, by way of a file that holds no code."""

import io
import random

import numpy as np
import pytest
import torch

from imlkd.training.random_state import random_state, restore_random_state, seed_of


@pytest.fixture(autouse=True)
def leave_them_as_they_were() -> object:
    before = random_state()
    yield
    restore_random_state(before)


def draw() -> list[float]:
    found = [float(torch.rand(())), float(np.random.rand()), random.random()]
    return [*found, float(np.random.randn()), random.gauss(0, 1)]


def test_what_was_due_is_drawn_next() -> None:
    torch.manual_seed(1), np.random.seed(2), random.seed(3)
    np.random.randn(), random.gauss(0, 1)  # each keeps a second number back
    buffer = io.BytesIO()
    torch.save(random_state(), buffer)
    expected = [draw(), draw()]
    buffer.seek(0)
    restore_random_state(torch.load(buffer, weights_only=True))
    assert [draw(), draw()] == expected


def test_seeds_of_neighbours_differ() -> None:
    seeds = {seed_of(seed, epoch, step, *rank) for seed in range(3) for epoch in range(5) for step in range(20)
             for rank in ((), (1,), (2,))}  # fmt: skip
    assert len(seeds) == 3 * 5 * 20 * 3 and all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3)
