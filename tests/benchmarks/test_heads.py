import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_heads", ROOT / "benchmarks/heads.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.ROWS, module.FRAMES = 4, 60  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(("kind", "share"), [("none", 1.0), ("imlkd", 0.5), ("head", 0.5)])
def test_a_step_of_a_small_batch(bench: ModuleType, kind: str, share: float) -> None:
    threads = torch.get_num_threads()
    found = bench.measure_one(kind, 12, share, 1)
    torch.set_num_threads(threads)
    assert found["ms"] > 0 and found["mb"] > 50
