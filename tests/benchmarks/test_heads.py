"""The benchmark of heads on a small batch."""

from __future__ import annotations

import pytest
import torch

from benchmarks import heads


@pytest.mark.parametrize(("kind", "share"), [("none", 1.0), ("imlkd", 0.5), ("head", 0.5)])
def test_a_step_of_a_small_batch(monkeypatch: pytest.MonkeyPatch, kind: str, share: float) -> None:
    monkeypatch.setattr(heads, "ROWS", 4)
    monkeypatch.setattr(heads, "FRAMES", 60)
    threads = torch.get_num_threads()
    found = heads.measure_one(kind, 12, share, 1)
    torch.set_num_threads(threads)
    assert found["ms"] > 0 and found["mb"] > 50
