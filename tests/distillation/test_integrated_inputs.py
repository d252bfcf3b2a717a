"""Integrated inputs: by hand, against loops over frames, and what must hold for every gate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.attribution import baselines
from imlkd.distillation.integrated_inputs import (
    GATES,
    NEED_MAP,
    GateConfig,
    at_frames,
    check_gate_name,
    gated,
    map_gate,
    mean_frame,
    overlaid,
    permuted,
    soft_gate,
    time_gate,
    top_gate,
)
from imlkd.errors import UserError

OVER_TIME = [kind for kind in GATES if kind not in (*NEED_MAP, "energy", "id")]  # those of relevance
RELEVANCE = arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(2, 40)), elements=st.floats(0, 1, width=32)
)
SEEDS = st.integers(0, 2**31)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_by_hand() -> None:
    """Frames (0, 4) and (2, 0), mean (1, 2); gate 1 and 0.5."""
    features = torch.tensor([[[0.0, 4.0], [2.0, 0.0]]])
    assert mean_frame(features).tolist() == [[[1.0, 2.0]]]
    gate = soft_gate(torch.tensor([[1.0, 0.0]]), 0.5)
    assert gate.tolist() == [[1.0, 0.5]]
    assert gated(features, gate).tolist() == [[[0.0, 4.0], [1.5, 1.0]]]


def test_ends_of_the_gate() -> None:
    features, relevance = torch.randn(3, 7, 4), torch.rand(3, 7)
    assert torch.equal(gated(features, soft_gate(relevance, 1.0)), features)  # rho = 1: the identity
    torch.testing.assert_close(gated(features, torch.zeros(3, 7)), mean_frame(features).expand(3, 7, 4))
    gate = soft_gate(relevance, 0.25)
    assert (gate >= 0.25).all() and (gate <= 1).all()
    torch.testing.assert_close(soft_gate(relevance, 0.0), relevance)


@pytest.mark.parametrize("kind", ["soft", "perm", "tf"])
@pytest.mark.parametrize("frames", [7, 5, 19])
def test_rho_of_one_is_the_input_bit_for_bit(kind: str, frames: int) -> None:
    features = torch.randn(3, frames, 4)
    if kind == "tf":
        gate = map_gate(torch.randn(3, frames, 4), 1.0)
    else:
        gate = time_gate(GateConfig(kind=kind), torch.rand(3, 7), 1.0)
    assert torch.equal(gated(features, gate), features)


def test_against_numpy() -> None:
    features, gate = torch.randn(2, 9, 3), torch.rand(2, 9)
    x, g = features.numpy(), gate.numpy()[:, :, None]
    mean = x.mean(1, keepdims=True)
    np.testing.assert_allclose(gated(features, gate).numpy(), mean + g * (x - mean), atol=1e-6)
    over_bins = torch.rand(2, 9, 3)
    np.testing.assert_allclose(gated(features, over_bins).numpy(), mean + over_bins.numpy() * (x - mean), atol=1e-6)


def test_the_baseline_is_the_one_that_relevance_was_taken_from() -> None:
    features = torch.randn(2, 9, 3)
    expected = torch.stack([baselines.mean_frame(row, 9) for row in features])
    torch.testing.assert_close(mean_frame(features).expand(2, 9, 3), expected)


@settings(deadline=None, max_examples=60)
@given(relevance=RELEVANCE, rho=st.floats(0, 1), seed=SEEDS)
def test_every_gate_over_time_against_loops(relevance: np.ndarray, rho: float, seed: int) -> None:
    rows, frames = relevance.shape
    config = GateConfig(top_low=0.2, top_high=0.8)
    a = torch.from_numpy(relevance)
    found = {k: time_gate(GateConfig(k, top_low=0.2, top_high=0.8), a, rho, seeded(seed)).numpy() for k in OVER_TIME}
    drawn = torch.rand(rows, generator=seeded(seed)).numpy()
    for row in range(rows):
        soft = [rho + (1 - rho) * float(value) for value in relevance[row]]
        np.testing.assert_allclose(found["soft"][row], soft, atol=1e-6)
        np.testing.assert_allclose(np.sort(found["perm"][row]), np.sort(soft), atol=1e-6)
        assert (found["path"][row] == drawn[row]).all()
        share = np.float32(config.top_low) + np.float32(config.top_high - config.top_low) * drawn[row]
        count = max(1, round(float(np.float32(share * frames))))
        best = sorted(range(frames), key=lambda t: (-relevance[row, t], t))[:count]
        assert [t for t in range(frames) if found["top"][row, t]] == sorted(best)
        assert (found["del"][row] == 1 - found["top"][row]).all()
    for gate in found.values():
        assert gate.shape == relevance.shape and gate.min() >= 0 and gate.max() <= 1


def test_gates_are_drawn_from_the_generator() -> None:
    a = torch.rand(4, 50)
    for kind in ("path", "perm", "top"):
        first, again, other = (time_gate(GateConfig(kind), a, 0.5, seeded(s)) for s in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_permutations_differ_between_rows_and_reach_every_place() -> None:
    rows = permuted(torch.arange(5.0).expand(2000, 5), seeded(0))
    places = torch.stack([(rows == value).double().mean(0) for value in range(5)])
    assert (places - 0.2).abs().max() < 0.04  # five standard deviations
    assert len(torch.unique(rows, dim=0)) == 120


def test_shares_of_top_cover_their_range() -> None:
    kept = time_gate(GateConfig("top", top_low=0.3, top_high=0.9), torch.rand(4000, 100), 0.5, seeded(0)).mean(1)
    assert 0.295 <= kept.min() < 0.32 and 0.88 < kept.max() <= 0.905 and abs(kept.mean() - 0.6) < 0.015


def test_no_frame_is_no_gate() -> None:
    assert top_gate(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([0.0])).tolist() == [[0, 1, 0]]
    assert top_gate(torch.zeros(1, 4), torch.tensor([0.5])).tolist() == [[1, 1, 0, 0]]  # of equals the earlier
    with pytest.raises(ValueError, match="add: no gate over time"):
        time_gate(GateConfig("add"), torch.rand(1, 3), 0.5)


@settings(deadline=None, max_examples=60)
@given(
    attribution=arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(1, 4)),
                       elements=st.floats(-5, 5, width=16)),
    rho=st.floats(0, 1),
    beta=st.floats(0, 2),
    seed=SEEDS,
)  # fmt: skip
def test_gates_over_bins_against_loops(attribution: np.ndarray, rho: float, beta: float, seed: int) -> None:
    features = torch.randn(attribution.shape, generator=seeded(seed))
    gate = map_gate(torch.from_numpy(attribution), rho).numpy()
    added = overlaid(features, torch.from_numpy(attribution), beta).numpy()
    for row, one in enumerate(attribution):
        positive = np.maximum(one, 0)
        span = positive.max() - positive.min()
        a = (positive - positive.min()) / span if span else 0 * positive
        np.testing.assert_allclose(gate[row], rho + (1 - rho) * a, atol=1e-5)
        deviation = one.astype(np.float64).std(ddof=1)
        x = features[row].numpy()
        if deviation > 1e-3:
            np.testing.assert_allclose(added[row], x + beta * x.std(ddof=1) / deviation * one, rtol=1e-3, atol=1e-4)
        elif not one.any():
            np.testing.assert_array_equal(added[row], x)


def brute_resampled(gate: np.ndarray, frames: int, parts: int = 2520) -> np.ndarray:
    """Each frame cut into many, gathered again: exact where ``parts * len / frames`` is whole."""
    fine = np.repeat(gate.astype(np.float64), parts)
    return fine.reshape(frames, -1).mean(1)


@settings(deadline=None, max_examples=60)
@given(relevance=RELEVANCE, frames=st.integers(1, 10))
def test_another_frame_rate_against_fine_pieces(relevance: np.ndarray, frames: int) -> None:
    found = at_frames(torch.from_numpy(relevance), frames).numpy()
    for row, one in enumerate(relevance):
        np.testing.assert_allclose(found[row], brute_resampled(one, frames), atol=1e-6)
    np.testing.assert_allclose(found.mean(1), relevance.mean(1), atol=1e-6)  # time is kept
    assert found.min() >= relevance.min() - 1e-6 and found.max() <= relevance.max() + 1e-6


def test_frame_rates_by_hand() -> None:
    gate = torch.tensor([[0.0, 1.0, 0.5, 0.5]])
    assert at_frames(gate, 4) is gate
    assert at_frames(gate, 2).tolist() == [[0.5, 0.5]]
    assert at_frames(gate, 8).tolist() == [[0, 0, 1, 1, 0.5, 0.5, 0.5, 0.5]]
    torch.testing.assert_close(at_frames(gate, 3), torch.tensor([[0.25, 0.75, 0.5]]))
    torch.testing.assert_close(gated(torch.ones(1, 2, 3).cumsum(1), gate), torch.full((1, 2, 3), 1.5) + torch.tensor(
        [[[-0.25], [0.25]]]))  # fmt: skip


def test_no_gradient_flows_through_the_gate() -> None:
    features, a = torch.randn(2, 6, 3, requires_grad=True), torch.rand(2, 6, requires_grad=True)
    gate = time_gate(GateConfig(), a, 0.3)
    gated(features, gate).square().sum().backward()
    assert a.grad is None and features.grad is not None and not gate.requires_grad


def test_names() -> None:
    for kind in GATES:
        check_gate_name(kind)
    with pytest.raises(UserError, match=r"^unknown gate 'sofft': did you mean soft\?$"):
        check_gate_name("sofft")
    with pytest.raises(UserError, match="unknown gate 'zzz': known: soft, tf, top, add, del, path, perm"):
        check_gate_name("zzz")
    with pytest.raises(UserError, match=r"gate\.top_low: 0\.9 is above top_high, 0\.3"):
        GateConfig(top_low=0.9, top_high=0.3).check()
