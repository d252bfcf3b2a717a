"""benchmarks/baselines.py and precision.py on a small teacher: the keys that their tables promise."""

from pathlib import Path

import pytest

import benchmarks.paths
from benchmarks import baselines, precision
from imlkd.attribution.baselines import BASELINES
from imlkd.models.store import save_model
from tests.attribution.toy_subjects import toy_tdnn


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beside segments that the toy corpus is long enough for."""
    monkeypatch.setattr(benchmarks.paths, "DURATIONS", (50, 100))
    save_model(toy_tdnn(), tmp_path / "teacher")
    return tmp_path / "teacher"


def test_every_baseline_is_drawn_and_compared(
    teacher: Path, toy_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = baselines.measure(teacher, toy_corpus, 2)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:4]] == list(BASELINES) and len(said) == 4 + 6
    assert found["segments"] == 4 and all(float(found[f"{name}_nodes"]) >= 9 for name in BASELINES)
    assert -1 <= float(found["mean_zero_correlation"]) < 1


def test_every_part_is_rounded(teacher: Path, toy_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = precision.measure(teacher, toy_corpus, 1)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 7
    assert found["nothing_correlation"] == 1 and 0.9 < float(found["everything_correlation"]) < 1
