"""What a page was made from: code, command, data, configurations, packages."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imlkd import __version__
from imlkd.reporting.results import config_hash
from imlkd.reporting.table import git_hash

PACKAGES = ("torch", "torchaudio", "numpy", "lhotse", "onnxruntime")
CONFIGS = ("model.yaml", "config.yaml", "method.yaml")


@dataclass(frozen=True)
class Provenance:
    """Names and values in the order of the page.

    :param configs: by file name the text of the student's resolved configurations.
    """

    facts: Sequence[tuple[str, str]]
    configs: Mapping[str, str]


def provenance_of(student: Path, models: Sequence[Path], data_hashes: Mapping[str, str], command: str) -> Provenance:
    """Of one student's page."""
    facts = [
        ("code", f"imlkd {__version__} at git {git_hash(Path(__file__).parents[3])}"),
        ("command", command or "not known"),
        *((f"data {name}", digest) for name, digest in data_hashes.items()),
        *((f"configuration of {folder.name}", config_hash(folder)) for folder in models),
        ("packages", ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))),
        ("Python", f"{platform.python_version()}, {platform.system()} on {platform.machine()}"),
    ]
    texts = {name: student / name for name in CONFIGS}
    return Provenance(facts, {name: path.read_text(encoding="utf-8") for name, path in texts.items() if path.is_file()})


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
