"""benchmarks/attribution.py and paths.py: flat objects with the keys that are promised, on networks that are small."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.attribution_models import correlation, network, waveforms
from benchmarks.paths import Profile, row

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


@pytest.mark.parametrize("warp", [1.0, 4.0])
def test_rules_read_a_profile_as_they_would_the_path(warp: float) -> None:
    """F = sin(3 alpha): no rule misses it at 8 nodes, and a coarse one does not pass for a fine one."""
    alphas = np.linspace(0, 1, 129) ** warp
    profile = Profile(np.sin(3 * alphas), 3 * np.cos(3 * alphas), warp)
    assert row([profile], "gauss-legendre", 1.0, 8, 64) == (0.0, 8.0, 0.0)
    assert row([profile], "trapezoid", 1.0, 2, 2)[2] == 1.0
    over, nodes, failing = row([profile], "adaptive", 1.0, 2, 64)
    assert over == 1.0 and 3 < nodes < 65 and failing == 0.0
