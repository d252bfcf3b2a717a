"""benchmarks/error_rates.py: scikit-learn agrees at a size for tests, and a difference ends the run."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.readme import undocumented

ROOT = Path(__file__).parents[2]


@pytest.fixture
def error_rates(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("error_rates", ROOT / "benchmarks/error_rates.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"TRIALS": 8000, "SPEAKERS": 40, "DRAWS": 5}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_all_measures_agree_with_scikit_learn(error_rates: ModuleType) -> None:
    found = error_rates.measure_metrics(quick=True)
    assert 0 <= found["metrics_largest_difference"] < 1e-9
    assert undocumented("metrics", found) == []
    assert found["metrics_seconds"] > 0 and found["metrics_scikit_learn_seconds"] > 0


def test_weighted_draws_agree_with_scikit_learn(error_rates: ModuleType) -> None:
    found = error_rates.measure_bootstrap(quick=True)
    assert 0 <= found["bootstrap_largest_difference"] < 1e-9
    assert found["bootstrap_seconds"] > 0
    assert undocumented("bootstrap", found) == [] and undocumented("bootstrap", ["bootstrap_other"]) != []


def test_a_difference_ends_the_measurement(error_rates: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = error_rates.scikit_learn
    monkeypatch.setattr(error_rates, "scikit_learn", lambda trials: theirs(trials) | {"eer": 0.5})
    with pytest.raises(SystemExit, match="differ by 0.4.*no speed is measured"):
        error_rates.measure_metrics(quick=True)
