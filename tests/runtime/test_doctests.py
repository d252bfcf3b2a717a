"""The examples in docstrings of the library: each runs, in a folder with voices and a model."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import imlkd
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore

ROOT = Path(__file__).parents[2]
NAMES = {"np": np, "load_model": imlkd.load_model, "Enrolment": Enrolment, "SpeakerStore": SpeakerStore}
MODULES = ["imlkd", *(f"imlkd.runtime.{path.stem}" for path in sorted((ROOT / "imlkd/runtime").glob("[a-z]*.py")))]
EXAMPLES = {"imlkd": 5, "imlkd.runtime.model": 7, "imlkd.runtime.speaker_store": 3}  # lines, so that none gets lost


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in voices.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    if name == "imlkd.runtime.folder_model":
        pytest.importorskip("torch")
    done = doctest.testmod(importlib.import_module(name), extraglobs=NAMES, optionflags=doctest.FAIL_FAST)
    assert done.failed == 0 and done.attempted == EXAMPLES.get(name, 0)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "imlkd/py.typed").is_file() and '"py.typed"' in (ROOT / "setup.py").read_text()
