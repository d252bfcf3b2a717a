"""Thresholds, calibrations and enrolments of the wrong kind: one UserError line or a result."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore
from imlkd.runtime.thresholds import Thresholds
from imlkd.scoring.calibration import Calibration
from tests.fuzz.damage import Damage, damaged, damages
from tests.runtime.store_writer import CARD
from tests.runtime.tiny_model import CALIBRATION, THRESHOLDS


def read_texts(text: bytes) -> None:
    letters = text.decode("utf-8", "replace")
    for read in (Thresholds.from_json, Calibration.from_json):
        try:
            read(letters, "here")
        except UserError as error:
            assert str(error) and "\n" not in str(error) and len(str(error)) < 600


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
