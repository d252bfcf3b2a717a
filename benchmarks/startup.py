#!/usr/bin/env python3
"""What a command costs before it does anything. Bounds of the project: path.sh 0.5 s, `imlkd evaluate --help` 0.3 s."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from imlkd.cli.main import main as main_command

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "path_sh": ["bash", "-c", ". ./path.sh"],
    "imlkd_help": ["utils/imlkd", "--help"],
    "imlkd_evaluate_help": ["utils/imlkd", "evaluate", "--help"],
    "bare_python": [sys.executable, "-c", ""],
    "import_torch": [sys.executable, "-c", "import torch"],
}


def median_seconds(command: list[str], repetitions: int) -> float:
    """Median wall-clock time of ``command``, after one run that warms the disk cache."""
    environment = os.environ | {"IMLKD_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    environment.pop("IMLKD_PYTHON_CHECKED", None)  # path.sh is to do what it does in a fresh shell
    if command == COMMANDS["path_sh"] and ROOT / ".venv" in Path(sys.executable).parents:
        del environment["IMLKD_PYTHON"]  # .venv is path.sh's own: let it find that
    taken = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken[1:]), 3)


def verbs_of(command: click.Command, path: str = "") -> Iterator[str]:
    """Every verb of the command line, groups and what is in them."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from verbs_of(found, f"{path} {name}".strip())
    else:
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 repetitions instead of 10")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    repetitions = 3 if options.quick else 10
    found = {f"{name}_seconds": median_seconds(command, repetitions) for name, command in COMMANDS.items()}
    if not options.quick:
        verbs = {verb: median_seconds(["utils/imlkd", *verb.split(), "--help"], 3) for verb in verbs_of(main_command)}
        slowest = max(verbs, key=lambda verb: verbs[verb])
        found |= {"verbs": len(verbs), "slowest_verb_help_seconds": verbs[slowest]}
        print(f"slowest --help: {slowest}")
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    options.json.write_text(json.dumps({**machine, "repetitions": repetitions, **found}, indent=1) + "\n")
    for name, seconds in found.items():
        print(f"{name:28} {seconds:.3f}")


if __name__ == "__main__":
    main()
