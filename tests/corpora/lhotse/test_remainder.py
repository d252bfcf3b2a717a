"""Cuts to a Kaldi directory and back: nothing is lost, and tables that were edited meanwhile win."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, NumpyFilesWriter, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.supervision import AlignmentItem

from imlkd.corpora.audio import probe, resolve_sources
from imlkd.corpora.check import Recording as Checked
from imlkd.corpora.kaldi_dir import read_data_dir, write_data_dir
from imlkd.corpora.lhotse.cut_lines import cut_lines
from imlkd.corpora.lhotse.cuts import from_cuts, read_cuts, to_cuts, write_cuts
from imlkd.errors import UserError

RATE, LENGTH = 16000, 4801

_NAMES = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=4)
_SCALARS = st.one_of(
    st.integers(-3, 3), st.floats(-2, 2), st.booleans(), st.text(max_size=6), st.none(), st.lists(st.integers(0, 2))
)
_CUSTOM = st.dictionaries(
    st.sampled_from(["snr", "room", "spk2age", "kaldi_segment", "lhotse", "order", "two words", "dur", "text"]),
    st.one_of(_SCALARS, st.dictionaries(_NAMES, _SCALARS, max_size=2)), max_size=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "one.flac"
    soundfile.write(path, np.random.default_rng(1).integers(-9000, 9000, LENGTH).astype(np.int16), RATE)
    return path


@st.composite
def cut(draw: st.DrawFn, path: Path, name: str, speaker: str, gender: str | None) -> MonoCut:
    """A cut as a user may have it: times between samples, fields of all kinds, a supervision of its own times."""
    first = draw(st.integers(0, LENGTH - 3))
    end = draw(st.integers(first + 2, LENGTH))
    start = first / RATE + draw(st.sampled_from([0.0, 1e-5]))
    duration = (end - first) / RATE
    recording = Recording("r", [AudioSource("file", [0], str(path))], RATE, LENGTH, LENGTH / RATE, [0])
    supervision = SupervisionSegment(
        id=draw(st.sampled_from([name, "other"])), recording_id=draw(st.sampled_from(["r", "q"])),
        start=draw(st.sampled_from([0.0, -0.25, 0.0125])), duration=draw(st.sampled_from([duration, 0.125])),
        speaker=speaker, gender=gender, text=draw(st.none() | st.text(max_size=8)),
        language=draw(st.none() | _NAMES), custom=draw(st.none() | _CUSTOM) or None,
        alignment={"word": [AlignmentItem("a", 0.0, 0.1)]} if draw(st.booleans()) else None,
    )  # fmt: skip
    return MonoCut(name, start, duration, 0, [supervision], None, recording, draw(st.none() | _CUSTOM) or None)


@st.composite
def manifests(draw: st.DrawFn, path: Path) -> list[MonoCut]:
    speakers = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    genders = {speaker: draw(st.sampled_from(["m", "f", "male", "Female", None])) for speaker in speakers}
    cuts = [
        draw(cut(path, f"{speaker}-{k}", speaker, genders[speaker]))
        for speaker in speakers for k in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    return list(draw(st.permutations(cuts)))


@settings(max_examples=60, deadline=None)
@given(drawn=st.data())
def test_cuts_to_directory_and_back_loses_nothing(drawn: st.DataObject, audio: Path) -> None:
    cuts = drawn.draw(manifests(audio))
    for one in cuts:  # a table of speakers has one value of each; the rest of it is no property of this test
        one.supervisions[0].custom = {
            key: value for key, value in (one.supervisions[0].custom or {}).items() if not key.startswith("spk2")
        } or None
        one.custom = {key: value for key, value in (one.custom or {}).items() if not key.startswith("spk2")} or None
    with tempfile.TemporaryDirectory() as folder:
        before, between, after = Path(folder, "a.jsonl.gz"), Path(folder, "d"), Path(folder, "b.jsonl.gz")
        write_cuts(cuts, before)
        write_data_dir(from_cuts(read_cuts(before), before), between)
        data = read_data_dir(between)
        write_cuts(to_cuts(data), after)
        found, expected = read_cuts(after), read_cuts(before)
        assert [one.id for one in found] == [one.id for one in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.to_dict() == theirs.to_dict()
        recordings = {
            key: Checked(source, probe(source), None) for key, source in resolve_sources(data).by_recording.items()
        }
        assert _as_json(cut_lines(data, recordings)) == _as_json(one.to_dict() for one in found)


def _as_json(lines: Iterable[dict[str, Any]]) -> list[Any]:
    return [json.loads(json.dumps(line).replace("NaN", '"NaN"')) for line in lines]


def _one_cut(path: Path, folder: Path) -> MonoCut:
    recording = Recording("r", [AudioSource("file", [0], str(path))], RATE, LENGTH, LENGTH / RATE, [0])
    supervision = SupervisionSegment("s-1", "r", 0.01, 0.1, speaker="s", gender="Male", text="two  blanks")
    one = MonoCut("s-1", 0.05, 0.2, 0, [supervision], recording=recording, custom={"snr": 12.5})
    with NumpyFilesWriter(folder) as writer:
        map_ = np.arange(20 * 4, dtype=np.float32).reshape(20, 4)
        one.relevance = writer.store_array("s-1", map_, frame_shift=0.01, temporal_dim=0, start=one.start)
        one.supervisions[0].custom = {"embedding": writer.store_array("e-1", np.ones(3, np.float32)).to_dict()}
    return one


def _way_back(one: MonoCut, folder: Path, **edits: tuple[str, str]) -> Any:
    write_data_dir(from_cuts([one], Path("c.jsonl.gz")), folder)
    for name, (old, new) in edits.items():
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    return to_cuts(read_data_dir(folder))[0]


def test_maps_attached_to_a_cut_come_back(audio: Path, tmp_path: Path) -> None:
    one = _one_cut(audio, tmp_path / "maps")
    back = _way_back(one, tmp_path / "d")
    assert back.to_dict() == one.to_dict()
    np.testing.assert_array_equal(back.load_relevance(), one.load_relevance())
    np.testing.assert_array_equal(back.truncate(duration=0.1).load_relevance(), one.load_relevance()[:10])


def test_edited_tables_win(audio: Path, tmp_path: Path) -> None:
    one = _one_cut(audio, tmp_path / "maps")
    back = _way_back(
        one, tmp_path / "d", utt2snr=("12.5", "3"), text=("two blanks", "new"), spk2gender=("m", "f"),
        segments=("0.050 0.250", "0.050 0.150"), utt2dur=("0.200", "0.100"),
    )  # fmt: skip
    supervision = back.supervisions[0]
    assert back.custom == {"relevance": one.relevance} and supervision.custom["snr"] == "3"
    assert (supervision.text, supervision.gender) == ("new", "f")
    assert (back.start, back.duration, supervision.start, supervision.duration) == (0.05, 0.1, 0.0, 0.1)


def test_a_damaged_remainder_is_named(audio: Path, tmp_path: Path) -> None:
    data = from_cuts([_one_cut(audio, tmp_path / "maps")], Path("c.jsonl.gz"))
    for value in ("{", "[1]", json.dumps("x")):
        broken = replace(data, extra={**data.extra, "utt2lhotse": {"s-1": value}})
        with pytest.raises(UserError, match=r"utt2lhotse: s-1: not what `imlkd data from-lhotse` wrote"):
            to_cuts(broken)
