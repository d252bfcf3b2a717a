"""benchmarks/attribution.py and paths.py: flat objects with the keys that are promised, on networks that are small."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gradients
from benchmarks.attribution_models import correlation, network, profile, waveforms
from benchmarks.paths import Profile, row
from imlkd.attribution.gradients import TeacherFunction
from imlkd.attribution.quantities import TargetCosine
from imlkd.models.size import count_macs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_writes_one_flat_object(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/attribution.py", "--quick", "--channels", "16", "--nodes", "8"]
    command += ["--utterances", "2", "--parts", "roofline", "--no-compile", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(isinstance(value, int | float | str) for value in found.values())
    for key in ("speedup_vs_captum_default", "speedup_vs_captum_equal_quality", "matrix_rate_share"):
        assert found[key] > 0 and key in done.stdout
    assert found["captum_default_nodes"] == 50 and "elementwise, statistics, casts" in done.stdout


@pytest.mark.parametrize(("name", "channels"), [("tdnn", 16), ("resnet", 4)])
def test_what_is_taken_away_changes_no_gradient(name: str, channels: int) -> None:
    """So that times compare: only what is left in ``points.grad``, or comes back, counts."""
    voices = waveforms(gradients.ROWS)
    model = gradients.network(name, channels, voices)
    features = torch.stack([model.frontend(pair[0]) for pair in voices])
    rows = (torch.full((len(voices),), features.shape[1]), torch.arange(len(voices)))
    tried = gradients.variants(model)
    assert set(tried) == {*gradients.WITHOUT, gradients.BESIDE}
    (_, expected), points = tried["engine"](features.clone(), *rows), features.clone()
    tried["nor_frozen"](points, *rows)
    others = [tried[key](features.clone(), *rows)[1] for key in ("own_layers", "nor_folded")]
    for other in (points.grad, *others):
        assert (other - expected).norm() < 1e-2 * expected.norm()  # a ReLU may bend otherwise


def test_networks_know_their_voices() -> None:
    """Each voice's other piece is nearest to it in most cases, so that there is something to explain."""
    voices = waveforms(8)
    model = network("ecapa", 16, voices)
    features = torch.stack([model.frontend(first) for first, _ in voices])
    cosines = model(features, torch.full((8,), features.shape[1])).cosines
    assert cosines is not None and (cosines.argmax(1) == torch.arange(8)).float().mean() >= 0.5
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_correlation_is_numpys() -> None:
    one, other = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize(("name", "half"), [("tdnn", False), ("ecapa", False), ("ecapa", True)])
def test_a_profile_holds_every_product_of_a_gradient(name: str, half: bool) -> None:
    """As many multiply-adds as the network has, forward and backward; views move nothing."""
    voices = waveforms(2)
    model = network(name, 64, voices)
    features = torch.stack([model.frontend(first) for first, _ in voices])
    steps = profile(TeacherFunction(model, TargetCosine()), features, half, repetitions=2)
    expected = count_macs(model, 2.0)
    if name == "ecapa":  # the attention multiplies the statistics once, not once a frame
        expected -= 2 * 3 * 64 * 128 * features.shape[1]
    assert sum(step.macs for step in steps) == pytest.approx(2 * 2 * expected, rel=0.02)
    assert all(step.seconds > 0 for step in steps if step.product)
    moved = {step.name: step.bytes for step in steps}
    assert moved["transpose"] == moved["t"] == 0 and moved["threshold_backward"] > 0
    assert max(step.bound(1e9, 1e9) for step in steps) >= max(step.macs for step in steps) / 1e9


@pytest.mark.parametrize("warp", [1.0, 4.0])
def test_rules_read_a_profile_as_they_would_the_path(warp: float) -> None:
    """F = sin(3 alpha): no rule misses it at 8 nodes, and a coarse one does not pass for a fine one."""
    alphas = np.linspace(0, 1, 129) ** warp
    profile = Profile(np.sin(3 * alphas), 3 * np.cos(3 * alphas), warp)
    assert row([profile], "gauss-legendre", 1.0, 8, 64) == (0.0, 8.0, 0.0)
    assert row([profile], "trapezoid", 1.0, 2, 2)[2] == 1.0
    over, nodes, failing = row([profile], "adaptive", 1.0, 2, 64)
    assert over == 1.0 and 3 < nodes < 65 and failing == 0.0
