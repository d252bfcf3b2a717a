"""The keys that benchmarks/README.md gives for a part of benchmarks/scoring.py."""

import re
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parents[2] / "benchmarks/README.md"


def undocumented(part: str, keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` that the part's row lacks."""
    (row,) = re.findall(rf"^\| `{part}` \| (.+) \|$", README.read_text(encoding="utf-8"), re.M)
    told = set(re.findall(r"`(\w+)`", row))
    if "the same" in row:
        told |= set(re.findall(r"`(\w+)`", re.findall(r"^\| `metrics` \| (.+) \|$", README.read_text(), re.M)[0]))
    prefixes = [f"{part}_", *(name for name in told if name.endswith("_"))]
    rest = []
    for key in keys:
        name = key
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        if name not in told:
            rest.append(key)
    return rest
