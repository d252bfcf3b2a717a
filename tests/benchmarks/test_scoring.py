"""benchmarks/scoring.py: both ways of AS-norm give the same numbers, at a size for tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.benchmarks.readme import undocumented

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asnorm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("asnorm", ROOT / "benchmarks/asnorm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name, value in {"UTTERANCES": 3000, "COHORT": 400, "TOP": 30, "TRIALS": 60000, "SPEAKERS": 20}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_both_ways_agree_and_both_are_timed(asnorm: ModuleType) -> None:
    ours, theirs, floor = asnorm.ours(1), asnorm.full_sort(1), asnorm.floor(1)
    assert len(theirs["chosen"]) > 300
    np.testing.assert_allclose(ours["scores"][theirs["chosen"]], theirs["scores"], atol=asnorm.TOLERANCE)
    assert ours["seconds"] > 0 and floor["seconds"] > 0 and ours["peak_mb"] > 1
    assert np.isfinite(theirs["seconds"])  # a line through two sizes: at this one it may lie anywhere


def test_a_difference_ends_the_measurement(asnorm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = np.arange(1000)
    found = {"chosen": chosen, "scores": np.zeros(1000), "seconds": 1.0, "first_run": 2.0, "peak_mb": 1.0}
    found |= {"loop_seconds": 0.1}
    monkeypatch.setattr(asnorm, "run", lambda way, *_: found | {"scores": np.full(1000, way == "ours") * 1e-4})
    with pytest.raises(SystemExit, match="the two ways differ by 0.0001 on 1000 trials"):
        asnorm.compare(1, 1)
    monkeypatch.setattr(asnorm, "run", lambda way, *_: found)
    monkeypatch.setattr(asnorm, "of_command", lambda folder: {"command_seconds": 1.0, "command_peak_mb": 1.0})
    assert asnorm.measure(True)["asnorm_speedup_vs_full_sort"] == 1.0
    everything = asnorm.measure(False)
    assert "asnorm_one_thread_seconds" in everything and undocumented("asnorm", everything) == []


def test_the_command_gives_the_scores_of_a_full_sort(
    asnorm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asnorm, "TRIALS", 5000)
    found = asnorm.of_command(tmp_path)
    assert found["command_peak_mb"] > 10 and found["command_seconds"] > 0
    monkeypatch.setattr(asnorm, "mean_and_std_by_sort", lambda rows, cohort: (0.0, 1.0))
    with pytest.raises(SystemExit, match="scores of the command differ by"):
        asnorm.of_command(tmp_path)


def test_line_through_two_sizes(asnorm: ModuleType) -> None:
    assert asnorm.scaled([10, 20], [1.5, 2.5], 200) == pytest.approx(20.5)


def test_help_names_the_parts() -> None:
    import subprocess

    command = [sys.executable, "benchmarks/scoring.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "asnorm" in done.stdout
