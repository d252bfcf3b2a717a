"""Where the GE2E weights of the PyPI package Resemblyzer lie. The package is looked up, never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import sha256_file

PACKAGE = "Resemblyzer==0.1.4"
WEIGHTS_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
REMEDY = "run local/install_resemblyzer.sh"


def find_weights() -> Path:
    """``pretrained.pt`` of the installed package, whose import would need librosa and webrtcvad.

    :raises UserError: when the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"teacher resemblyzer: the package {PACKAGE} is not installed: {REMEDY}")
    path = Path(spec.submodule_search_locations[0]) / "pretrained.pt"
    if not path.is_file():
        raise UserError(f"{path}: the weights are missing from the installed package: {REMEDY}")
    return path


def verified_weights() -> Path:
    """:func:`find_weights`, its content compared with the published one.

    :raises UserError: also when the content differs.
    """
    path = find_weights()
    if sha256_file(path) != WEIGHTS_SHA256:
        raise UserError(f"{path}: damaged, or not of {PACKAGE} (SHA-256 differs): {REMEDY}")
    return path
