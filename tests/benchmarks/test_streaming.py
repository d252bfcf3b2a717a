"""benchmarks/streaming.py and interval_coverage.py at sizes for tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from imlkd.scoring.metrics import SortedScores
from tests.benchmarks.readme import undocumented

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def test_long_lists_are_scored_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = load("streaming")
    monkeypatch.setattr(streaming, "SIZES", {"million": 2000, "ten_million": 20_000})
    monkeypatch.setattr(streaming, "UTTERANCES", 1500)
    found = streaming.measure(True)
    assert found["streamed_largest_difference"] < streaming.TOLERANCE
    assert found["streamed_million_peak_mb"] > 10 and found["streamed_ten_million_seconds"] > 0
    assert found["streamed_speedup_vs_scikit_learn_loop"] > 0 and undocumented("streamed", found) == []


def test_a_loop_with_other_scores_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = load("streaming")
    monkeypatch.setattr(streaming, "SIZES", {"million": 1000})
    monkeypatch.setattr(streaming, "UTTERANCES", 1200)
    embeddings = streaming.write_data(tmp_path)
    streaming.run(tmp_path, "million")
    assert streaming.scikit_learn_loop(tmp_path, embeddings) > 0
    with pytest.raises(SystemExit, match="scikit-learn and ours differ by"):
        streaming.scikit_learn_loop(tmp_path, embeddings[::-1])


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
    population = coverage.Population(2.5, 60)
    trials = coverage.simulate(2000, population, seed=1)
    scores = SortedScores(trials.target, trials.nontarget)
    found = scores.eer().value, *(scores.min_dcf(p_target).value for p_target in (0.05, 0.01))
    assert found == pytest.approx(population.truth, abs=0.015)
    population = coverage.Population(2.5, 120)
    small = coverage.simulate(7, population, seed=0)
    assert np.bincount(small.enroll_speaker).tolist() == [120] * 7 == np.bincount(small.test_speaker).tolist()
    assert not (small.enroll_speaker == small.test_speaker).any()
    found = coverage.holds((7, population, 0))
    kinds, measures = ("corrected", "bca", "percentile"), ("eer", "min_dcf_0.05", "min_dcf_0.01")
    assert set(found) == {f"{kind}_{name}" for kind in kinds for name in measures} | {"of_trials_eer"}
    zero = coverage.holds_zero((9, population, 0))
    assert set(zero) == {f"{kind}_difference_{name}" for kind in ("corrected", "percentile") for name in measures}
    systems = [coverage.simulate(2000, coverage.Population(2.5, 60), 1, system) for system in (1, 2)]
    rates = [SortedScores(one.target, one.nontarget).eer().value for one in systems]
    assert rates == pytest.approx([coverage.Population(2.5, 60).truth[0]] * 2, abs=0.01) and rates[0] != rates[1]
