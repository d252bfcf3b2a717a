import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_distillation", ROOT / "benchmarks/distillation.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.ROWS, module.FRAMES = 4, 60  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("name", ["none", "imlkd", "fitnets", "oskdft", "imlkd-online", "class"])
def test_a_step_of_a_small_batch(bench: ModuleType, name: str) -> None:
    found = bench.measure_one(name, 6, 1)
    assert found["ms"] > 0 and found["mb"] > 50


def test_two_methods_take_turns(bench: ModuleType) -> None:
    ratio, milliseconds = bench.interleaved("imlkd", "mlld", 6, 3)
    assert 0.05 < ratio < 20 and milliseconds > 0
