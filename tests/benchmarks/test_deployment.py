"""benchmarks/deployment.py: one flat object with the keys that its documentation names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_quick_run_writes_one_flat_object(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/deployment.py", "--quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(isinstance(value, int | float | str) for value in found.values())
    assert {"student_vs_teacher_speedup", "default_pair_speedup", "rtf", "latency_ms", "size_mb"} <= found.keys()
    assert found["student_size_mb"] < found["teacher_size_mb"] / 10
    assert found["default_student_size_mb"] < found["student_size_mb"]
