#!/usr/bin/env python3
"""What scoring costs at the size of Vox1-E, part by part, each beside the usual way of doing it."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import asnorm
import error_rates
import numpy as np
import streaming

PARTS: dict[str, Callable[[bool], dict[str, float]]] = {
    "asnorm": asnorm.measure,
    "metrics": error_rates.measure_metrics,
    "bootstrap": error_rates.measure_bootstrap,
    "streamed": streaming.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; repeatable")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    results: dict[str, float | str | None] = {
        "machine": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__,
    }  # fmt: skip
    for name in options.part or PARTS:
        before = os.getloadavg()[0]
        results |= PARTS[name](options.quick)
        results[f"{name}_load_before"] = round(before, 2)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    for key, value in results.items():
        print(f"{key:36} {value}")


if __name__ == "__main__":
    main()
