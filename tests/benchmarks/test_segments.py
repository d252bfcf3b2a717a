"""benchmarks/segments.py: one flat object, with the equality that comes before the times."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_run_writes_one_flat_object(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/segments.py", "--quick", "--json", str(tmp_path / "segments.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "segments.json").read_text())
    assert all(isinstance(value, int | float | str) for value in found.values())
    for size in ("64x1000", "128x2000"):
        assert found[f"numpy_segments_{size}_seconds"] > 0 and found[f"numpy_masks_{size}_seconds"] > 0
        assert found["k2"] == "not there" or found[f"mask_difference_{size}"] < 1e-5
