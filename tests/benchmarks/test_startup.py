"""benchmarks/startup.py: one flat object, and commands that answer at once."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_run_writes_one_flat_object(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/startup.py", "--quick", "--json", str(tmp_path / "startup.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "startup.json").read_text())
    assert all(isinstance(value, int | float | str) for value in found.values())
    assert found["repetitions"] == 3
    # Loose, for a busy machine: what it would show is torch or lhotse on the way to a --help.
    assert 0 < found["imlkd_evaluate_help_seconds"] < max(1.0, 0.5 * found["import_torch_seconds"])
    assert found["bare_python_seconds"] < found["import_torch_seconds"]
