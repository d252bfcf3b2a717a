"""Damaged files: a store, an exported model, and what is written in it: one UserError line or a result."""

import functools
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd import load_model
from imlkd.errors import UserError
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore
from imlkd.runtime.thresholds import Thresholds
from imlkd.scoring.calibration import Calibration
from tests.conftest import RATE, toy_voice
from tests.runtime.store_writer import CARD, voice
from tests.runtime.tiny_model import CALIBRATION, THRESHOLDS, write_tiny_model

SLOWEST = 5.0  # seconds of one file
Damage = list[tuple[str, int, bytes]]
# How a file is damaged: overwritten, cut out, put in, cut off, at places counted from either end.
damages = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "cut", "put", "end"]),
        st.integers(-1500, 1500) | st.integers(-30000, 30000),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=5,
)


def damaged(content: bytes, damage: Damage) -> bytes:
    for kind, place, piece in damage:
        at = place % max(len(content), 1)
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at] + content[at + len(piece) :]
        elif kind == "put":
            content = content[:at] + piece + content[at:]
        else:
            content = content[:at]
    return content


def one_line_or_fine(work: Callable[[], object]) -> None:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        work()
    except UserError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 600
    assert time.process_time() - started < SLOWEST
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1 << 20  # kB, so 1 GiB


@functools.cache
def whole(kind: str) -> bytes:
    """A whole file of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        if kind == "model":
            return write_tiny_model(path).read_bytes()
        with SpeakerStore(path, CARD) as store:
            store.enroll({f"s{i}": voice(i) for i in range(40)})
        return path.read_bytes()


def use_store(path: Path) -> None:
    with SpeakerStore(path, CARD, wait=0.1) as store:
        assert len(store.search(voice(3)[0].embedding)) <= 5
        store.speakers()
        store.enroll({"s1": voice(1), "new": voice(99)})
        store.remove("s2")
    with SpeakerStore(path, wait=0.1) as store:
        store.check()


def use_model(path: Path) -> None:
    model = load_model(path)
    vector = model.embed(toy_voice(0, 0.5, 0), RATE)
    assert vector.shape == (model.embedding_dim,) and abs(float(np.linalg.norm(vector)) - 1.0) < 1e-3


USES = {"store": use_store, "model": use_model}


def try_damage(kind: str, damage: Damage) -> None:
    folder = Path(tempfile.mkdtemp(prefix="imlkd-fuzz-"))
    try:
        (folder / "file").write_bytes(damaged(whole(kind), damage))
        one_line_or_fine(lambda: USES[kind](folder / "file"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", USES)
def test_a_whole_file_can_be_used(kind: str, tmp_path: Path) -> None:
    """The control: without damage nothing is refused."""
    (tmp_path / "file").write_bytes(whole(kind))
    USES[kind](tmp_path / "file")


@pytest.mark.parametrize("kind", USES)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(damage=damages)
def test_damaged_files(kind: str, damage: Damage) -> None:
    try_damage(kind, damage)


@pytest.mark.slow
@pytest.mark.parametrize("kind", USES)
@settings(max_examples=20000, deadline=None, suppress_health_check=list(HealthCheck))
@given(damage=damages)
def test_many_damaged_files(kind: str, damage: Damage) -> None:
    try_damage(kind, damage)


def read_texts(text: bytes) -> None:
    letters = text.decode("utf-8", "replace")
    for read in (Thresholds.from_json, Calibration.from_json):
        one_line_or_fine(lambda read=read: read(letters, "here"))  # type: ignore[misc]


TEXTS = [json.dumps(THRESHOLDS).encode(), json.dumps(CALIBRATION).encode()]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TEXTS), damages)
def test_damaged_thresholds_and_calibrations(text: bytes, damage: Damage) -> None:
    read_texts(damaged(text, damage))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*THRESHOLDS, *CALIBRATION]), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(json_values, st.sampled_from(["scale", "offset", "quality", "score_range", "speakers", "eer", "0.01", "list"]))
def test_values_of_other_kinds(value: object, key: str) -> None:
    read_texts(json.dumps(CALIBRATION | THRESHOLDS | {key: value}).encode())
    for whole_text in (CALIBRATION, THRESHOLDS, {}):
        read_texts(json.dumps(whole_text | {key: value}).encode())
    read_texts(json.dumps(value).encode())


def test_a_calibration_that_was_read_can_be_applied() -> None:
    """What the reader lets through is a number, wherever one is needed."""
    for wrong in ({"scale": "8"}, {"offset": "1"}, {"quality": {"duration_min": "1"}}, {"offset": None}):
        with pytest.raises(UserError):
            Calibration.from_json(json.dumps(CALIBRATION | wrong), "here")


def test_enrolments_of_another_kind() -> None:
    with tempfile.TemporaryDirectory() as folder, SpeakerStore(Path(folder) / "s", CARD) as store:
        for vector in (np.zeros(24), np.full(24, np.nan), np.ones((1, 24)), np.ones(24)):
            with pytest.raises(UserError, match="nothing enrolled"):
                store.enroll({"a": [Enrolment("a.wav", 1.0, vector)]})
