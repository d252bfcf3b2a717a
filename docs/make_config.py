#!/usr/bin/env python3
"""Write the tables of docs/config.md and docs/methods.md: `. ./path.sh && "$IMLKD_PYTHON" docs/make_config.py`."""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imlkd.corpora.minivox.config import MinivoxConfig
from imlkd.distillation.catalogue import rows
from imlkd.distillation.objective import METHODS
from imlkd.training.check import CONFIGS

PAGE = Path(__file__).parent / "config.md"
METHODS_PAGE = Path(__file__).parent / "methods.md"
METHODS_TABLE = re.compile(r"(<!-- methods -->\n).*?(<!-- end -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- keys of ([\w-]+)\.yaml -->\n).*?(<!-- end -->)", re.DOTALL)


def config_classes() -> dict[str, type[Any]]:
    """Every configuration file of the recipe, without ``.yaml``, and its class."""
    return {"corpus": MinivoxConfig, **CONFIGS, **{name: config for name, (_, config) in METHODS.items()}}


def keys_of(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Dotted name and field of each key, sections opened."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        variants = field.metadata.get("variants", {})
        section = next(iter(variants.values()), hints[field.name])  # of several, the default; the others have tables
        if dataclasses.is_dataclass(section):
            yield from keys_of(section, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field


def table_of(cls: type[Any]) -> str:
    """Markdown: key, default, allowed values, meaning."""
    rows = ["| key | default | allowed | what |", "|---|---|---|---|"]
    for name, field in keys_of(cls):
        default = field.default_factory() if callable(field.default_factory) else field.default
        rows.append(f"| `{name}` | {_plain(default)} | {_allowed(field)} | {field.metadata.get('help', '')} |")
    return "\n".join(rows) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _allowed(field: dataclasses.Field[Any]) -> str:
    low, high = field.metadata.get("min"), field.metadata.get("max")
    if field.metadata.get("choices"):
        return ", ".join(map(str, field.metadata["choices"]))
    if low is None:
        return "any" if high is None else f"up to {_plain(high)}"
    return f"{_plain(low)} or more" if high is None else f"{_plain(low)} to {_plain(high)}"


def filled(page: str) -> str:
    """``page`` with every table made anew."""
    classes = config_classes()
    return TABLE.sub(lambda match: match[1] + table_of(classes[match[2]]) + match[3], page)


def methods_filled(page: str) -> str:
    """``page`` with the table of methods made anew."""
    lines = ["| method | needs | what |", "|---|---|---|"]
    lines += [f"| `{row['name']}` | {row['needs']} | {row['what']} |" for row in rows()]
    return METHODS_TABLE.sub(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], page)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]}   (writes {PAGE} and {METHODS_PAGE})")
    for path, fill in ((PAGE, filled), (METHODS_PAGE, methods_filled)):
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
