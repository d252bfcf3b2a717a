"""Toy voices and a tiny exported model in one folder."""

from pathlib import Path

import pytest

from tests.runtime.tiny_model import make_voices


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See ``make_voices``. To be read only."""
    return make_voices(tmp_path_factory.mktemp("voices"))
