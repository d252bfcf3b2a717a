"""benchmarks/streaming.py and interval_coverage.py at sizes for tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_long_lists_are_scored_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = load("streaming")
    monkeypatch.setattr(streaming, "SIZES", {"million": 2000, "ten_million": 20_000})
    monkeypatch.setattr(streaming, "UTTERANCES", 1500)
    found = streaming.measure(True)
    assert found["streamed_largest_difference"] < streaming.TOLERANCE
    assert found["streamed_million_peak_mb"] > 10 and found["streamed_ten_million_seconds"] > 0


def test_wrong_scores_end_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = load("streaming")
    monkeypatch.setattr(streaming, "SIZES", {"million": 1000})
    monkeypatch.setattr(streaming, "UTTERANCES", 1200)
    embeddings = streaming.write_data(tmp_path)
    lines = (tmp_path / "million").read_text().splitlines()
    (tmp_path / "out").write_text("".join(f"{' '.join(line.split()[:2])} 0.5\n" for line in lines))
    with pytest.raises(SystemExit, match="1000 scores, which differ by"):
        streaming.refuse_wrong(tmp_path, "million", embeddings)


def test_population_of_the_coverage_is_what_is_simulated() -> None:
    coverage = load("interval_coverage")
    trials = coverage.simulate(2000, 60, seed=1)
    from imlkd.scoring.metrics import eer, min_dcf

    found = eer(trials.target, trials.nontarget).value, min_dcf(trials.target, trials.nontarget, 0.05).value
    assert found == pytest.approx(coverage.TRUTH, abs=0.012)
    small = coverage.simulate(7, 120, seed=0)
    assert np.bincount(small.enroll_speaker).tolist() == [120] * 7 == np.bincount(small.test_speaker).tolist()
    assert not (small.enroll_speaker == small.test_speaker).any()
    found = coverage.holds((7, 120, 0))
    assert set(found) == {"percentile_eer", "percentile_min_dcf", "bca_eer", "bca_min_dcf", "of_trials_eer"}
