"""What a training depends on, key by key: whether a checkpoint is its own, and if not, what has changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOKS = ("training.checkpoints.", "training.loader.")
"""Settings that no weight depends on."""
DIGITS = ("training.threads", "training.compile")
"""Settings that move the last digits only: a training goes on, and is no longer the same to the bit."""


@dataclass(frozen=True)
class Change:
    """How a training and a checkpoint differ.

    :param refused: each difference that makes it another training, in words.
    :param inexact: differences that only the last digits show.
    :param harmless: differences without any effect.
    """

    refused: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Identity:
    """Digests of the inputs (data, targets, teacher, code) by name, and the resolved settings by dotted key."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def change_from(self, before: Identity) -> Change:
        """What has changed since ``before``."""
        change = Change()
        for name in sorted(before.inputs.keys() | self.inputs.keys()):
            if before.inputs.get(name) != self.inputs.get(name):
                change.refused.append(_said_of(name, before.inputs, self.inputs))
        for key in sorted(before.settings.keys() | self.settings.keys()):
            old, new = before.settings.get(key), self.settings.get(key)
            if old != new:
                kind = change.harmless if key.startswith(LOOKS) else change.inexact if key in DIGITS else change.refused
                kind.append(f"{key} {_plain(old)} -> {_plain(new)}")
        return change

    def plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"inputs": dict(self.inputs), "settings": dict(self.settings)}


def settings_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> plain value of a resolved configuration, its sections opened."""
    found: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            found |= settings_of(value, f"{prefix}{item.name}.")
        else:
            found[prefix + item.name] = list(value) if isinstance(value, list | tuple) else value
    return found


def _said_of(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    short = name if name.startswith(("--", "code of")) else "/".join(Path(name).parts[-2:])
    return f"{short} {'is new' if name not in before else 'is gone' if name not in now else 'changed'}"


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
