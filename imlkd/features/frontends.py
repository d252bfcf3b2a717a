"""Front-ends on mel bands, by the name that ``model.yaml`` calls them and by the class of their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SnippedLogMel, SpeechbrainMel, SpeechbrainMelConfig

FbankSettings = FbankConfig | SpeechbrainMelConfig | SnippedFbankConfig

FRONTENDS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "log-mel": (FbankConfig, LogMel),
    "speechbrain": (SpeechbrainMelConfig, SpeechbrainMel),
    "snipped": (SnippedFbankConfig, SnippedLogMel),
}


def frontend_name(config: object) -> str:
    """What the front-end with these settings is called."""
    return next(name for name, (settings, _) in FRONTENDS.items() if type(config) is settings)


def build_frontend(config: FbankSettings) -> LogMel | SpeechbrainMel | SnippedLogMel:
    """The front-end with these settings."""
    built: LogMel | SpeechbrainMel | SnippedLogMel = FRONTENDS[frontend_name(config)][1](config)
    return built
