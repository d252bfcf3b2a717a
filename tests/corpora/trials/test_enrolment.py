from pathlib import Path

import pytest

from imlkd.corpora.trials.enrolment import read_models, write_models
from imlkd.errors import UserError

MODELS = {"m2": ["a-1", "a-2", "b-9"], "m1": ["a-1"]}


@pytest.mark.parametrize("layout", ["lst", "nist"])
def test_written_and_read_back(layout: str, tmp_path: Path) -> None:
    write_models(tmp_path / "models", MODELS, layout)
    assert read_models(tmp_path / "models") == (MODELS, layout)


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        ("m2 a-1 a-2 b-9\nm1 a-1\n", "lst"),
        ("model-id enroll-file-id1 enroll-file-id2\nm2 a-1 a-2 b-9\nm1 a-1\n", "lst"),  # as SdSV has it
        ("modelid\tsegmentid\tside\nm2\ta-1\ta\nm2\ta-2\ta\nm1\ta-1\ta\nm2\tb-9\ta\n", "nist"),
        ("modelid side segmentid\nm2 a a-1\nm2 a a-2\nm1 a a-1\nm2 a b-9\n", "nist"),
    ],
)
def test_layouts(content: str, layout: str, tmp_path: Path) -> None:
    (tmp_path / "models").write_text(content)
    assert read_models(tmp_path / "models") == (MODELS, layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "models: empty list of models"),
        ("m1 a\nm2\n", "models:2: expected '<model> <utterance>"),
        ("m1 a\n\n", "models:2: expected '<model> <utterance>"),
        ("m1 a\nm1 b\n", "models:2: model m1 comes twice"),
        ("m1 a a\n", "models:1: model m1 has an utterance twice"),
        ("modelid segmentid\n", "models: a header and no model"),
        ("modelid segmentid\nm1 a b\n", "models:2: expected 2 columns as in the header, found 3"),
        ("modelid segmentid\nm1 a\nm1 a\n", "models:3: model m1 has the utterance a twice"),
    ],
)
def test_bad_lists(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "models").write_text(content)
    with pytest.raises(UserError) as caught:
        read_models(tmp_path / "models")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_layout_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'csv' is no layout"):
        write_models(tmp_path / "models", MODELS, "csv")
