"""Deletion and insertion against loops and hand numbers, on every network."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imlkd.attribution.perturbation import FRACTIONS, MODES, Probe, answers, perturbed, ranks, shown
from tests.attribution.engine_models import MODELS, features_of, model_of
from tests.attribution.toy_subjects import Linear


def probe_of(frames: int, bins: int, behind: int = 2, seed: int = 0) -> Probe:
    generator = torch.Generator().manual_seed(seed)
    features, fill = (torch.randn(frames + behind, bins, generator=generator) for _ in range(2))
    return Probe(features, fill, frames)


def by_loop(probe: Probe, order: list[tuple[int, ...]], fraction: float, mode: str) -> Tensor:
    """Unit after unit, most important first; a unit is (frame,) or (frame, bin)."""
    first = order[: round(fraction * len(order))]
    found = probe.features.clone()
    if mode == "insertion":
        found[: probe.frames] = probe.fill[: probe.frames]
    source = probe.features if mode == "insertion" else probe.fill
    for unit in first:
        found[unit] = source[unit]
    return found


@pytest.mark.parametrize("by_bin", [False, True])
@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 9), bins=st.integers(1, 4), seed=st.integers(0, 99), fraction=st.sampled_from(FRACTIONS))
def test_inputs_are_those_of_a_loop(by_bin: bool, frames: int, bins: int, seed: int, fraction: float) -> None:
    probe = probe_of(frames, bins, seed=seed)
    shape = (frames, bins) if by_bin else (frames,)
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    units = list(itertools.product(*map(range, shape)))
    order = sorted(units, key=lambda unit: -float(scores[unit]))
    for mode in MODES:
        found = perturbed(probe, shown(ranks(scores), fraction, mode))
        assert torch.equal(found, by_loop(probe, order, fraction, mode))
    reverse = perturbed(probe, shown(ranks(-scores), 1 - fraction, "insertion"))
    if (fraction * len(units)) % 1 != 0.5:  # there rounding to even breaks the mirror
        assert torch.equal(perturbed(probe, shown(ranks(scores), fraction, "deletion")), reverse)


def test_ranks_of_equal_scores_go_by_time() -> None:
    assert ranks(torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0])).tolist() == [3, 0, 4, 1, 2]
    assert ranks(torch.tensor([[0, 5], [9, 5]])).tolist() == [[3, 1], [0, 2]]


def test_curves_of_a_linear_model_are_those_of_a_pocket_calculator() -> None:
    """Frames 5, 1, 0, 2 filled with 2 each and 10 behind them; in the order 5, 0, 1, 2 the sums are as written here."""
    features = torch.tensor([[5.0], [1.0], [0.0], [2.0], [10.0]])
    probe = Probe(features, torch.full((5, 1), 2.0), frames=4)
    rank = torch.tensor([0, 2, 1, 3])
    found = answers(Linear(1), probe, [rank], lambda out: out.embedding[:, 0], fractions=(0.0, 0.25, 0.5, 0.75, 1.0))
    assert found.shape == (1, 2, 5)
    assert found[0, 0].tolist() == [18, 21, 19, 18, 18]  # 8 + 10, + 3, - 2, - 1, + 0
    assert found[0, 1].tolist() == [18, 15, 17, 18, 18]


@pytest.mark.parametrize("name", MODELS)
def test_batches_answer_as_one_by_one(name: str) -> None:
    model = model_of(name)
    x = features_of(model, 165 if name == "ge2e" else 43)
    probe = Probe(x, x.mean(0, keepdim=True).expand_as(x), frames=len(x) - 2)
    generator = torch.Generator().manual_seed(3)
    frames = torch.randn(probe.frames, generator=generator)
    fractions = (0.0, 0.3, 1.0)

    def read(output: Any) -> Tensor:
        return torch.cat([output.embedding, output.cosines], 1)

    def alone(seen: Tensor) -> Tensor:
        return read(model(perturbed(probe, seen)[None], torch.tensor([len(x)])))[0]

    for scores in (frames, torch.randn(probe.frames, x.shape[1], generator=generator)):
        rank = ranks(scores)
        found = answers(model, probe, [rank, ranks(-scores)], read, fractions, rows=2)
        for m, mode in enumerate(MODES):
            for q, fraction in enumerate(fractions):
                torch.testing.assert_close(found[0, m, q], alone(shown(rank, fraction, mode)), rtol=1e-9, atol=1e-12)
        whole = read(model(x[None], torch.tensor([len(x)])))[0]
        filled = torch.cat([probe.fill[: probe.frames], x[probe.frames :]])
        empty = read(model(filled[None], torch.tensor([len(x)])))[0]
        for order in found:
            torch.testing.assert_close(order[:, [0, -1]], torch.stack([empty, whole, whole, empty]).view(2, 2, -1))
        torch.testing.assert_close(found, answers(model, probe, [rank, ranks(-scores)], read, fractions, rows=64))


def test_equal_inputs_are_computed_once() -> None:
    model, seen = Linear(2), []
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    orders = [torch.arange(7), torch.arange(7).flip(0), torch.arange(7)]
    answers(model, probe_of(7, 2), orders, lambda output: output.embedding, rows=32)
    assert sum(seen) == 2 + len(orders) * 2 * (len(FRACTIONS) - 2) and max(seen) <= 32
